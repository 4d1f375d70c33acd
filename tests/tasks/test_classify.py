"""Classification end to end with a CLIP of colours: answers, unknown ones, calibration, files, refusals."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from colour_clip import ColourClip, paint

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Table, to_json
from lienzo.imaging.reading import load_picture
from lienzo.tasks.classify import Classify, run


@pytest.fixture(autouse=True)
def colour_clip(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    opened: list[tuple[object, ...]] = []

    def open_embedder(*given: object) -> ColourClip:
        opened.append(given)
        return ColourClip()

    monkeypatch.setattr("lienzo.clip.embedder.open_embedder", open_embedder)
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour in ("red", "green", "blue"):
        paint(tmp_path / "set" / colour, colour, 4)
    return tmp_path / "set"


def classify(*paths: object, **options: object) -> list[Event]:
    return list(run(Classify.make(paths=tuple(map(str, paths)), **{"labels": "red,green,blue"} | options)))


def rows(events: list[Event]) -> list[tuple[str, ...]]:
    (table,) = (event for event in events if isinstance(event, Table))
    return list(table.rows)


def metrics(events: list[Event]) -> list[Metric]:
    return [event for event in events if isinstance(event, Metric)]


def test_a_folder_of_folders(folder: Path) -> None:
    events = classify(folder)
    assert [row[1] for row in rows(events)] == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    assert all(sum(map(float, row[2::2])) == pytest.approx(1, abs=2e-4) for row in rows(events))
    (accuracy,) = metrics(events)
    assert (accuracy.name, accuracy.value) == ("accuracy", 1.0)
    assert accuracy.protocol == "clip=colours,labels=3,templates=7,average=embeddings,n=12"
    assert [json.dumps(to_json(event)) for event in events]


def test_single_pictures_and_top(folder: Path) -> None:
    picture = folder / "red" / "00.png"
    events = classify(picture, picture, top=1, labels="red,grey")
    assert rows(events) == [(str(picture), "red", rows(events)[0][2])]
    assert len(classify(picture, labels="red", top=9)[-2].rows[0]) == 3  # type: ignore[union-attr]


def test_the_temperature_is_the_clips_unless_given(folder: Path) -> None:
    picture = folder / "red" / "00.png"
    own, same, soft = (
        float(rows(classify(picture, **given))[0][2]) for given in ({}, {"temperature": 1 / 20}, {"temperature": 1.0})
    )
    assert own == same > 0.99
    assert 0.34 < soft < 0.7


def test_words_for_everything_else(folder: Path) -> None:
    events = classify(folder / "green", labels="red,blue", unknown="green, grey green")
    assert [row[1] for row in rows(events)] == ["unknown"] * 4
    assert not metrics(events)


def test_a_smallest_cosine(folder: Path, tmp_path: Path) -> None:
    events = classify(folder, labels="red,blue", unknown="0.8", csv=tmp_path / "a.csv", sheet=tmp_path / "a.png")
    found = {row[0]: row[1:] for row in rows(events)}
    assert found[str(folder / "green" / "00.png")] == ("unknown", "", "", "")
    assert found[str(folder / "red" / "00.png")][0] == "red"
    (accuracy,) = metrics(events)
    assert accuracy.protocol.endswith("n=8")
    assert accuracy.value == 1


def test_labels_files_and_descriptions(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("warm: red\ncold: blue, green\n")
    events = classify(
        folder, labels=None, labels_file=tmp_path / "labels.txt", average="probabilities", templates="all"
    )
    assert [row[1] for row in rows(events)] == ["cold"] * 8 + ["warm"] * 4


def test_broken_pictures_are_told_and_skipped(folder: Path) -> None:
    (folder / "red" / "broken.png").write_bytes(b"\x89PNG nonsense")
    (folder / "red" / "z\n\x1b[31m🦊.png").write_bytes(b"")
    events = classify(folder)
    assert len(rows(events)) == 12
    told = [event.text for event in events if isinstance(event, Note) and event.level == "warning"]
    assert len(told) == 2
    assert not any("\n" in text or "\x1b" in text for text in told)
    with pytest.raises(BadInput, match="None of the 1 pictures can be read"):
        classify(folder / "red" / "broken.png")


def test_hostile_names_stay_data(tmp_path: Path) -> None:
    paint(tmp_path / "set", "red", 1)
    name = 'a,"b"\n\x1b[31m=1🦊.png'
    (tmp_path / "set" / "00.png").rename(tmp_path / "set" / name)
    raw = os.fsdecode(b"\xff\xfe.png")
    paint(tmp_path / "set", "blue", 1)
    (tmp_path / "set" / "00.png").rename(tmp_path / "set" / raw)
    events = classify(tmp_path / "set", csv=tmp_path / "out.csv")
    assert not any("\n" in row[0] or "\x1b" in row[0] for row in rows(events))
    with (tmp_path / "out.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        found = {Path(row["picture"]).name: row for row in csv.DictReader(file)}
    assert found[name]["answer"] == "red"
    assert found[raw]["answer"] == "blue"


def test_csv_and_sheet(folder: Path, tmp_path: Path) -> None:
    classify(folder, csv=tmp_path / "out.csv", sheet=tmp_path / "sheet.png", labels='"red, ripe",green,blue')
    with (tmp_path / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["picture", "folder", "answer", "probability", "p(red, ripe)", "p(green)", "p(blue)"]
    assert found[0]["folder"] == found[0]["answer"] == "blue"
    assert float(found[0]["p(blue)"]) == float(found[0]["probability"]) > 0.9
    sheet = load_picture(tmp_path / "sheet.png")
    assert sheet.shape[1] > 4 * 160


def test_calibration(tmp_path: Path) -> None:
    for colour, others in (("red", "blue"), ("blue", "red")):
        paint(tmp_path / "set" / colour, colour, 32)
        for number in range(8):  # a fifth in the wrong folder: the CLIP is far too sure
            source = paint(tmp_path / "other", others, 8, seed=1) / f"{number:02d}.png"
            source.rename(tmp_path / "set" / colour / f"x{number}.png")
    paint(tmp_path / "set" / "neither", "green", 1)
    given = {"labels": "red,blue", "calibrate": str(tmp_path / "set")}
    events = classify(**given)
    found = {(m.name, m.protocol.split(",")[0]): m.value for m in metrics(events)}
    assert found["calibration error", "before"] > 0.15
    assert found["calibration error", "after"] < 0.8 * found["calibration error", "before"]
    assert found["log loss", "after"] < found["log loss", "before"]
    assert found["temperature", "before=0.05"] > 0.1
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("1 pictures of" in note and "no folder named as a label" in note for note in notes)
    after = classify(tmp_path / "set" / "red" / "00.png", **given, bias=True)
    assert 0.5 < float(rows(after)[0][2]) < 0.9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": None}, "Give the labels in one way"),
        ({"labels_file": Path("x.txt")}, "Give the labels in one way"),
        ({"paths": ()}, "Name the pictures"),
        ({"paths": ("nowhere\n\x1b.png",)}, "There is no picture or folder 'nowhere .png'"),
        ({"labels": "red,red"}, "there twice"),
        ({"labels": None, "probe": Path("p"), "unknown": "x"}, "--unknown compares"),
        ({"bias": True}, "--bias is fitted"),
        ({"calibrate": "set", "temperature": 1.0}, "leave --temperature out"),
        ({"calibrate": "set", "labels": "yellow,black"}, "needs at least 4 pictures in folders"),
        ({"unknown": "3"}, "is no cosine"),
        ({"unknown": "nan"}, "is no cosine"),
        ({"unknown": "x", "labels": "Unknown,red"}, "is there already"),
        ({"csv": Path("no/a.csv")}, "--csv 'no/a.csv' cannot be written: its folder"),
        ({"sheet": Path("a.txt")}, "for --sheet ends in"),
        ({"templates": "photos"}, "no templates 'photos'"),
        ({"top": 0}, "top"),
        ({"temperature": 0}, "temperature"),
    ],
)
def test_what_does_not_fit_is_one_sentence(folder: Path, given: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        list(run(Classify.make(**{"paths": ("set",), "labels": "red,blue"} | given)))
    assert "\n" not in str(caught.value)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no pictures"):
        classify(tmp_path / "empty")


def test_a_folder_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(folder / "locked", "red", 1)
    (folder / "up").symlink_to(folder.parent)
    scan = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("os.scandir", refusing)
    events = classify(folder)
    assert len(rows(events)) == 12  # a link to what lies above is not followed either
    assert any("locked' cannot be read: Permission denied" in e.text for e in events if isinstance(e, Note)), events


def test_a_sheet_is_not_written_over_a_picture(folder: Path) -> None:
    picture = folder / "red" / "00.png"
    before = picture.read_bytes()
    with pytest.raises(BadInput, match=r"--sheet '.*' is one of the pictures"):
        classify(folder, sheet=picture)
    assert picture.read_bytes() == before


def test_one_label_is_no_question(folder: Path) -> None:
    def warned(**options: object) -> bool:
        events = classify(folder / "red", **options)
        return any("With one label" in event.text for event in events if isinstance(event, Note))

    assert warned(labels="red")
    assert not warned(labels="red", unknown="0.1")
    assert not warned(labels="red", unknown="blue")


def test_few_right_answers_say_little(folder: Path) -> None:
    (accuracy,) = metrics(classify(folder / "red" / "00.png"))
    assert accuracy.value == 1
    assert accuracy.interval == pytest.approx((0.2065, 1.0), abs=1e-4)  # Wilson's for 1 of 1
