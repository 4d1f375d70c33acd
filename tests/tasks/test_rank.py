"""`lienzo rank`: best of n."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from colour_clip import ColourClip, paint
from PIL import Image

from lienzo.clip import embedder as clips
from lienzo.core.errors import BadInput
from lienzo.core.events import Note, Table
from lienzo.tasks.rank import Rank, Ranked, ranked, run


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clips, "open_embedder", lambda name, device=None, towers="both": ColourClip(tag=name))
    for colour in ("red", "green", "blue"):
        paint(tmp_path / colour, colour, 2)


def rank(prompt: str, *paths: str, **options: object) -> tuple[list[Ranked], list[object]]:
    events = list(run(Rank.make(prompt=prompt, paths=paths, **options)))
    return [e for e in events if isinstance(e, Ranked)], [e for e in events if isinstance(e, Table | Note)]


def test_the_best_come_first() -> None:
    ranking, (table,) = rank("green", "red", "green", "blue/00.png")
    assert [Path(each.path).parent.name for each in ranking[:2]] == ["green", "green"]
    assert [each.rank for each in ranking] == [1, 2, 3, 4, 5]
    assert ranking[0].score == ranking[0].scores["judge"] > ranking[-1].score
    assert isinstance(table, Table)
    assert table.columns == ("rank", "score", "picture")
    assert [row[2] for row in table.rows] == [each.path for each in ranking]
    assert len(rank("green", "red", top=1)[0]) == 1


def test_several_clips_have_equal_say() -> None:
    loud, quiet = np.array([0.9, 0.1, 0.5]), np.array([0.010, 0.012, 0.011])
    files = [Path("a"), Path("b"), Path("c")]
    scores = {each.path: each.score for each in ranked(files, ("loud", "quiet"), np.stack([loud, quiet]))}
    assert scores == pytest.approx({"a": 0, "b": 0, "c": 0}, abs=1e-9)
    flat = ranked(files, ("one", "flat"), np.stack([loud, np.full(3, 0.3)]))
    assert [each.path for each in flat] == ["a", "c", "b"]
    assert flat[0].scores == {"one": 0.9, "flat": 0.3}


def test_a_column_for_each_clip() -> None:
    _, (table,) = rank("red", "red", "blue", clip=("judge", "guide", "judge"))
    assert isinstance(table, Table)
    assert table.columns == ("rank", "score", "judge", "guide", "picture")


def test_broken_pictures_are_told_and_left_out() -> None:
    Path("red/broken.png").write_bytes(b"")
    ranking, events = rank("red", "red", "blue", clip=("judge", "guide"))
    assert len(ranking) == 4
    assert sum(isinstance(e, Note) and "broken.png" in e.text for e in events) == 1
    with pytest.raises(BadInput, match="None of the 1 pictures"):
        rank("red", "red/broken.png")


def test_sheet_and_copy(tmp_path: Path) -> None:
    ranking, _ = rank("blue", "red", "blue", sheet=Path("sheet.png"), copy_best=Path("best.png"))
    assert Path("best.png").read_bytes() == Path(ranking[0].path).read_bytes()
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 400


def test_bad_input() -> None:
    Path("there.png").write_bytes(b"mine")
    for prompt, paths, options, sentence in (
        ("red", (), {}, "no pictures to rank"),
        (" ", ("red",), {}, "sentence is empty"),
        ("red", ("nowhere",), {}, "no picture or folder 'nowhere'"),
        ("red", ("red",), {"copy_best": Path("there.png")}, "exists already"),
        ("red", ("red",), {"copy_best": Path("no/best.png")}, "folder does not exist"),
        ("red", ("red",), {"copy_best": Path("best.jpg")}, "copies it unchanged"),
        ("red", ("red",), {"sheet": Path("sheet.gif")}, "for --sheet ends in"),
    ):
        with pytest.raises(BadInput, match=sentence):
            rank(prompt, *paths, **options)  # type: ignore[arg-type]
    assert Path("there.png").read_bytes() == b"mine"
    assert not Path("best.jpg").exists()
