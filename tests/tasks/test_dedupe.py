"""`lienzo dedupe`: copies are shown and never deleted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from colour_clip import ColourClip, paint
from PIL import Image

from lienzo.clip import embedder as clips
from lienzo.core.errors import BadInput
from lienzo.core.events import Note, Table
from lienzo.tasks import index
from lienzo.tasks.dedupe import By, Dedupe, Duplicates, Gathered, from_files, run


@pytest.fixture(autouse=True)
def clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "open_embedder", lambda name, device=None, towers="both": ColourClip())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two scenes: one with the same file and a small JPEG of it, one alone."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        small = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        scene = Image.fromarray(small).resize((256, 192), Image.Resampling.BICUBIC)
        scene.save(folder / f"scene{number}.png")
        if number == 0:
            scene.resize((128, 96)).save(folder / "small.jpg", quality=85)
    (folder / "twice.png").write_bytes((folder / "scene0.png").read_bytes())
    return folder


def dedupe(**options: object) -> tuple[list[tuple[str, list[tuple[str, str]]]], list[object]]:
    events = list(run(Dedupe.make(**options)))
    groups = [
        (Path(e.keep).name, [(Path(str(c["path"])).name, str(c["by"])) for c in e.copies])
        for e in events
        if isinstance(e, Duplicates)
    ]
    return groups, [e for e in events if isinstance(e, Table | Note)]


def test_the_same_file_and_the_same_look(pictures: Path) -> None:
    groups, (table, note) = dedupe(paths=("pictures",))
    assert groups == [("twice.png", [("scene0.png", "file"), ("small.jpg", "look")])]
    assert isinstance(table, Table)
    assert [row[1] for row in table.rows] == ["keep", "file", "look"]
    assert [row[3] for row in table.rows] == ["256x192", "256x192", "128x96"]
    assert isinstance(note, Note)
    assert "Of 4 pictures, 2 are copies, 1 group" in note.text


@pytest.mark.parametrize(("by", "copies"), [("file", ["scene0.png"]), ("look", ["scene0.png", "small.jpg"])])
def test_by_one_kind_alone(pictures: Path, by: str, copies: list[str]) -> None:
    groups, _ = dedupe(paths=("pictures",), by=(by,))
    assert [name for _, group in groups for name, _ in group] == copies
    assert {how for _, group in groups for _, how in group} == {by}


def test_by_a_clip(tmp_path: Path) -> None:
    paint(tmp_path / "some", "red", 3)
    paint(tmp_path / "some" / "more", "blue", 2)
    groups, _ = dedupe(paths=("some",), by=("clip",), threshold=0.95)
    assert sorted(len(group) for _, group in groups) == [1, 2]
    assert dedupe(paths=("some",))[0] == []


def test_an_index_is_compared_without_reading_files(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(index.run(index.Index.make(folders=(pictures,), index=Path("idx"))))
    monkeypatch.setattr("lienzo.imaging.reading.open_picture", None)
    groups, _ = dedupe(index=Path("idx"), threshold=0.99999)
    assert groups[0][0] == "twice.png"
    assert groups[0][1][0] == ("scene0.png", "file")
    assert dedupe(index=Path("idx"), filter="path:small")[0] == []
    (pictures / "twice.png").unlink()
    groups, events = dedupe(index=Path("idx"), by=("file",))
    assert groups == []
    assert isinstance(events[0], Note)
    assert "1 files are no longer there" in events[0].text


def test_an_index_by_looks(pictures: Path) -> None:
    list(index.run(index.Index.make(folders=(pictures,), index=Path("idx"))))
    groups, _ = dedupe(index=Path("idx"), by=("look",))
    assert groups == [("twice.png", [("scene0.png", "look"), ("small.jpg", "look")])]


def test_sheet_and_list_and_nothing_deleted(pictures: Path) -> None:
    before = sorted(path.name for path in pictures.iterdir())
    dedupe(paths=("pictures",), sheet=Path("sheet.png"), write_list=Path("list.txt"))
    assert sorted(path.name for path in pictures.iterdir()) == before
    assert Path("list.txt").read_text().split() == ["pictures/scene0.png", "pictures/small.jpg"]
    with Image.open("sheet.png") as sheet:
        assert sheet.width == 3 * 206 + 14


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_hostile_names_in_the_list(pictures: Path) -> None:
    data = (pictures / "scene1.png").read_bytes()
    for name in (b"caf\xe9-longer.png", b"line\nbreak-longer.png"):
        Path(os.fsdecode(os.fsencode(pictures) + b"/" + name)).write_bytes(data)
    _, events = dedupe(paths=("pictures",), by=("file",), write_list=Path("list.txt"), sheet=Path("sheet.png"))
    assert b"pictures/caf\xe9-longer.png\n" in Path("list.txt").read_bytes()
    assert b"break" not in Path("list.txt").read_bytes()
    assert any(isinstance(e, Note) and "1 names with line breaks" in e.text for e in events)


def test_broken_pictures_and_no_copies(pictures: Path) -> None:
    (pictures / "twice.png").write_bytes(b"broken")
    (pictures / "small.jpg").unlink()
    groups, events = dedupe(paths=("pictures",), sheet=Path("sheet.png"), write_list=Path("list.txt"))
    assert groups == []
    texts = [e.text for e in events if isinstance(e, Note)]
    assert "twice.png" in texts[0]
    assert texts[1] == "Of 2 pictures, none is a copy."
    assert not Path("sheet.png").exists()
    assert Path("list.txt").read_bytes() == b""


def test_bad_input(pictures: Path) -> None:
    for options, sentence in (
        ({"paths": ("pictures",), "filter": "ext:png"}, "either folders, or --index"),
        ({"paths": ("nowhere",)}, "no picture or folder"),
        ({"paths": ("pictures",), "write_list": Path("no/list.txt")}, "folder does not exist"),
        ({"paths": ("pictures",), "sheet": Path("x.bmp")}, "for --sheet ends in"),
        ({"index": Path("nowhere")}, "no picture index"),
        ({"paths": ("pictures",), "by": ("taste",)}, "taste"),
    ):
        with pytest.raises(BadInput, match=sentence):
            dedupe(**options)


def test_options_of_a_clip_need_one(pictures: Path) -> None:
    with pytest.raises(BadInput, match="are for --by clip"):
        list(run(Dedupe.make(paths=(str(pictures),), by=("look",), threshold=0.5)))


def test_thumbnails_are_kept_only_where_looks_count(pictures: Path) -> None:
    kept: list[Gathered] = []

    def gather(by: By) -> Iterator[object]:
        kept.append((yield from from_files(Dedupe.make(paths=(str(pictures),), by=(by,)), (by,))))

    for by in ("file", "look"):
        list(gather(by))
    assert [each.thumbs is not None for each in kept] == [False, True]
    assert [len(each.candidates) for each in kept] == [4, 4]
