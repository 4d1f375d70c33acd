"""`lienzo search` as a person uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from colour_clip import ColourClip, paint
from PIL import Image

from lienzo.clip import embedder as clips
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.search.answers import Match
from lienzo.tasks import index
from lienzo.tasks.search import Search, run


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Red and blue pictures in the index `idx`, read by a CLIP that knows colours."""
    monkeypatch.setattr(clips, "open_embedder", lambda name, device=None, towers="both": ColourClip(tag=name))
    for colour in ("red", "blue"):
        paint(tmp_path / "pictures" / colour, colour, 3)
    (tmp_path / "pictures" / "blue" / "00.txt").write_text("the sea\n", "utf-8")
    list(index.run(index.Index.make(folders=(tmp_path / "pictures",), index=Path("idx"))))
    return tmp_path / "pictures"


def search(query: str | None = None, **options: object) -> tuple[list[Match], list[Event]]:
    events = list(run(Search.make(query=query, index=Path("idx"), **options)))
    found = [event for event in events if isinstance(event, Match)]
    return found, [event for event in events if not isinstance(event, Match)]


def names(found: list[Match]) -> list[str]:
    return [Path(match.path).parent.name for match in found]


def test_results_are_matches_and_a_table(pictures: Path) -> None:
    found, (table,) = search("blue", count=4)
    assert names(found) == ["blue"] * 3 + ["red"]
    assert isinstance(table, Table)
    assert table.title == "blue"
    assert [row[2] for row in table.rows] == [match.path for match in found]
    assert {row[3] for row in table.rows} == {"the sea", ""}


def test_options_add_and_subtract(pictures: Path) -> None:
    assert names(search("grey", minus=("red",))[0])[:3] == ["blue"] * 3
    assert names(search(plus=("red",), count=2)[0]) == ["red"] * 2
    picture = pictures / "blue" / "01.png"
    found, (table,) = search(image=(picture,), count=1)
    assert found[0].path == str(picture)
    assert found[0].score == pytest.approx(1, abs=1e-3)
    assert isinstance(table, Table)
    assert search("2*red", minus=("blue",), count=1)[1][0].title == "2*red - blue"  # type: ignore[union-attr]


def test_filter_count_and_least_score(pictures: Path) -> None:
    assert names(search("red", filter="path:blue/*")[0]) == ["blue"] * 3
    assert [Path(match.path).name for match in search("red", filter="caption:SEA")[0]] == ["00.png"]
    assert search("red", count=1)[0][0].rank == 1
    assert names(search("red", min_score=0.95)[0]) == ["red"] * 3
    for options, sentence in (({"filter": "width>9999"}, "fits the filter"), ({"min_score": 1.0}, "scores 1 or more")):
        found, (note,) = search("grey", **options)
        assert not found
        assert isinstance(note, Note)
        assert sentence in note.text


def test_a_sheet_of_what_is_there(pictures: Path, tmp_path: Path) -> None:
    (pictures / "red" / "01.png").unlink()
    (pictures / "red" / "02.png").write_bytes(b"broken since")
    found, events = search("red", count=3, sheet=Path("sheet.png"))
    assert sum(match.missing for match in found) == 1
    texts = [event.text for event in events if isinstance(event, Note)]
    assert "1 file is no longer there" in texts[0]
    assert texts[1] == "The sheet is sheet.png."
    assert any("(missing)" in row[2] for event in events if isinstance(event, Table) for row in event.rows)
    with Image.open("sheet.png") as sheet:
        assert sheet.width == 2 * 206 + 14  # two tiles


def test_all_files_gone(pictures: Path) -> None:
    for path in pictures.rglob("*.png"):
        path.unlink()
    _, events = search("red", sheet=Path("sheet.png"))
    assert any(isinstance(event, Note) and "All files are gone" in event.text for event in events)
    assert not Path("sheet.png").exists()


def test_pictures_without_a_vector_are_told(pictures: Path, tmp_path: Path) -> None:
    paint(tmp_path / "more", "blue", 2, seed=7)
    list(index.run(index.Index.make(folders=(tmp_path / "more",), index=Path("idx"), clip="second")))
    _, events = search("red", clip="second")
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "6 pictures of the index have no vector of 'second'" in notes[0]
    assert "lienzo index --index '" in notes[0]


def test_bad_input_is_one_sentence_and_writes_nothing(pictures: Path) -> None:
    for query, options, sentence in (
        (None, {}, "nothing to search for"),
        ("red", {"minus": (" ",)}, "--minus is empty"),
        ("red -blue", {}, "touches a word"),
        ("red", {"filter": "colour:red"}, "There is no 'colour' to filter by"),
        ("red", {"sheet": Path("sheet.tiff")}, "for --sheet ends in"),
        ("red", {"sheet": Path("no/sheet.png")}, "its folder does not exist"),
        ("red", {"image": (Path("no.png"),)}, "no picture 'no.png'"),
        ("red", {"store": "fast"}, "no vector store 'fast'"),
        ("red", {"clip": "other"}, "no vectors of 'other'"),
    ):
        with pytest.raises(BadInput, match=sentence):
            search(query, **options)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="no picture index in 'nowhere'"):
        list(run(Search.make(query="red", index=Path("nowhere"))))
    assert not list(Path().glob("*.tiff"))


def test_a_text_query_needs_no_torch_and_prints_json(at_home: Path, tmp_path: Path) -> None:
    paint(tmp_path / "pictures", "red", 3)
    list(index.run(index.Index.make(folders=(tmp_path / "pictures",), index=Path("idx"))))
    code = """
import sys
from lienzo.cli.main import main
try:
    main(["search", "a red square", "--index", "idx", "--json", "--sheet", "sheet.png"])
except SystemExit as leaving:
    assert leaving.code in (0, None), leaving.code
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["rank"] for event in events if event["event"] == "match"] == [1, 2, 3]
    assert (tmp_path / "sheet.png").is_file()


def test_a_store_without_address_refuses_one_and_a_silent_server_is_named(pictures: Path) -> None:
    with pytest.raises(BadInput, match="The store 'exact' has no option 'address'"):
        search("red", store="exact", address="http://localhost:1")
    pytest.importorskip("qdrant_client")
    with pytest.raises(BadInput, match="The Qdrant server at http://localhost:1 did not do what it was asked"):
        search("red", store="qdrant", address="http://localhost:1")
