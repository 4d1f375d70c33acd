"""`lienzo index`, `index status` and `index remove` as a person uses them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lienzo.cli.flags import build_app, parse_and_run
from lienzo.clip import embedder as clips
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.core.options import Options
from lienzo.search.catalogue import Catalogue
from lienzo.tasks.index import Index, IndexStatus, RemoveFolder, run

_SPEC = importlib.util.spec_from_file_location(
    "hostile_folder", Path(__file__).parents[2] / "benchmarks" / "hostile_folder.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
hostile = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostile)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(hostile.encoded(number))
    (folder / "bad\x1b[31m\n.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(autouse=True)
def home(at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Lienzo folder of this test alone, with the tiny models in it."""
    place = tmp_path / "home"
    shutil.copytree(at_home, place)
    monkeypatch.setenv("LIENZO_HOME", str(place))
    return place


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A CLIP that costs nothing; returns how it was asked for."""
    asked: list[tuple[object, ...]] = []

    def opened(name: str, device: object = None, towers: str = "both") -> object:
        asked.append((name, str(device), towers))
        return hostile.FreeEmbedder()

    monkeypatch.setattr(clips, "open_embedder", opened)
    return asked


def tables(events: list[Event]) -> dict[str, Table]:
    return {event.title: event for event in events if isinstance(event, Table)}


def given(options: type[Options], *arguments: str) -> Options:
    """The options that a command line makes."""
    made: list[Options] = []
    parse_and_run(build_app("index", "", options, lambda each, screen: made.append(each) or 0), list(arguments))
    return made[0]


def test_index_status_remove(pictures: Path, home: Path, free: list[tuple[object, ...]]) -> None:
    events = list(run(Index.make(folders=(pictures,), device="cpu")))
    assert free == [(clips.DEFAULT_CLIP, "cpu", "image")]
    assert isinstance(events[-1], Note)
    assert "4 pictures in the index" in events[-1].text
    with Catalogue.open(home / "index") as catalogue:
        assert catalogue.tags() == {"free": 4}
        assert any(catalogue.cache("free").rglob("*")), "the next search finds its cache"
    shown = tables(list(run(IndexStatus.make())))
    assert shown["Folders"].rows == ((str(pictures), "4", "yes", "", "no"),)
    assert shown["CLIPs"].rows[0][0] in ("judge", "guide"), "both are the free one here"
    assert shown["CLIPs"].rows[0][1:] == ("4", "0")
    ((name, why),) = shown["Cannot be read"].rows
    assert name == f"{pictures}/bad[31m .png"
    assert why.startswith("The picture is not a picture that Lienzo knows")
    (note,) = run(RemoveFolder.make(folder=pictures))
    assert isinstance(note, Note)
    assert "(4 pictures) are forgotten" in note.text
    assert len(list(pictures.iterdir())) == 5
    assert tables(list(run(IndexStatus.make())))["Folders"].rows == ()


def test_without_folders_all_are_brought_up_to_date(pictures: Path, free: list[tuple[object, ...]]) -> None:
    with pytest.raises(BadInput, match=r"There is no picture index in '.*index'; make one with: lienzo index FOLDER"):
        list(run(Index.make()))
    list(run(Index.make(folders=(pictures,))))
    (pictures / "0.png").unlink()
    *_, last = run(Index.make())
    assert isinstance(last, Note)
    assert "3 unchanged, 1 dropped" in last.text


def test_rules_are_forgotten_by_an_empty_pattern(pictures: Path, free: list[tuple[object, ...]]) -> None:
    list(run(Index.make(folders=(pictures,), exclude=("1.*", "2.*"))))
    assert tables(list(run(IndexStatus.make())))["Folders"].rows[0][1:4] == ("2", "yes", "1.* 2.*")
    list(run(Index.make(folders=(pictures,), exclude=("",))))
    assert tables(list(run(IndexStatus.make())))["Folders"].rows[0][1:4] == ("4", "yes", "")


def test_flags(tmp_path: Path) -> None:
    plain = given(Index, "a", "b")
    assert isinstance(plain, Index)
    assert plain.folders == (Path("a"), Path("b"))
    assert (plain.exclude, plain.hidden, plain.captions, plain.clip) == (None, None, True, None)
    full = given(Index, "a", "--exclude", "*.gif", "private", "--hidden", "--index", "i", "--clip", "guide")
    assert isinstance(full, Index)
    assert (full.exclude, full.hidden, full.index, full.clip) == (("*.gif", "private"), True, Path("i"), "guide")
    off = given(Index, "a", "--no-captions", "--no-hidden", "--workers", "3", "--batch", "8")
    assert isinstance(off, Index)
    assert (off.captions, off.hidden, off.workers, off.batch) == (False, False, 3, 8)
    assert given(RemoveFolder, "a") == RemoveFolder(folder=Path("a"))
    assert given(IndexStatus, "--index", "i") == IndexStatus(index=Path("i"))


def test_wrong_folders_make_and_load_nothing(tmp_path: Path, home: Path, free: list[tuple[object, ...]]) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        list(run(Index.make(folders=(tmp_path / "none",))))
    assert not (home / "index").exists()
    assert free == []


def test_a_folder_that_is_not_indexed_cannot_be_removed(pictures: Path, free: list[tuple[object, ...]]) -> None:
    list(run(Index.make(folders=(pictures,))))
    with pytest.raises(BadInput, match="is not indexed as a folder of its own"):
        list(run(RemoveFolder.make(folder=pictures.parent)))


def test_with_a_clip_that_comes_with_lienzo(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIENZO_HOME")
    folder = tmp_path / "colours"
    folder.mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (64, 64), name).save(folder / f"{name}.png")
    list(run(Index.make(folders=(folder,), index=tmp_path / "index", device="cpu")))
    embedder = clips.open_embedder(clips.DEFAULT_CLIP, "cpu", towers="image")
    with Catalogue.open(tmp_path / "index") as catalogue:
        item = catalogue.find(folder / "red.png")
        assert item is not None
        expected = embedder.pictures(embedder.prepare(Image.new("RGB", (64, 64), "red"))[None])[0]
        found = catalogue.vector(item.id, embedder.tag)
        assert found is not None
        assert float(found @ expected) > 0.999
        assert np.isfinite(found).all()
