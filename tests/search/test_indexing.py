"""Indexing reads what changed, follows what moved, drops what is gone, and survives hostile folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hostile_folder import FreeEmbedder, encoded, make_folder
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Progress
from lienzo.imaging import reading
from lienzo.search import decoding, indexing
from lienzo.search.catalogue import Catalogue
from lienzo.search.filters import parse_filter
from lienzo.search.indexing import index_folders

TAG = FreeEmbedder.tag


class Bench:
    """A folder, its index, and what the last run did."""

    def __init__(self, place: Path):
        self.folder = place / "pictures"
        self.folder.mkdir()
        self.catalogue = Catalogue.open(place / "index", create=True)
        self.embedder = FreeEmbedder()
        self.events: list[Event] = []

    def put(self, name: str, number: int) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(number))
        return path

    def run(self, *roots: Path, **options: object) -> int:
        """Index; returns how many pictures were embedded."""
        before = self.embedder.seen
        self.events = list(index_folders(self.catalogue, self.embedder, roots or [self.folder], **options))  # type: ignore[arg-type]
        return self.embedder.seen - before

    def names(self) -> dict[str, int]:
        return {
            item.path.relative_to(self.folder).as_posix(): item.id
            for item in self.catalogue.items(self.catalogue.ids())
        }

    def notes(self, level: str = "warning") -> list[str]:
        return [e.text for e in self.events if isinstance(e, Note) and e.level == level]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read."""
    seen: list[str] = []

    def counted(path: str, limit: int) -> bytes:
        seen.append(os.path.basename(path))
        return reading.read_bytes(path, limit)

    monkeypatch.setattr(decoding, "read_bytes", counted)
    return seen


def test_what_is_unchanged_is_not_read(bench: Bench, read: list[str]) -> None:
    for number in range(5):
        bench.put(f"{number}.png", number)
    assert bench.run() == 5
    assert sorted(read) == [f"{number}.png" for number in range(5)]
    generation = bench.catalogue.generation()
    read.clear()
    assert bench.run() == 0
    assert read == []
    assert bench.catalogue.generation() == generation
    assert bench.notes("info")[-1].endswith("5 unchanged.")
    bench.put("5.png", 5)
    assert bench.run() == 1
    assert read == ["5.png"]


def test_the_vectors_are_those_of_the_pictures(bench: Bench) -> None:
    for number in range(7):
        bench.put(f"{number}.png", number)
    bench.run(batch=3)
    for name, number in bench.names().items():
        picture = Image.open(bench.folder / name).convert("RGB")
        expected = bench.embedder.pictures(bench.embedder.prepare(picture)[None])[0]
        found = bench.catalogue.vector(number, TAG)
        assert found is not None
        assert float(found @ expected) > 0.9999


def test_touched_changed_and_deleted(bench: Bench) -> None:
    paths = [bench.put(f"{number}.png", number) for number in range(4)]
    bench.run()
    before = bench.names()
    os.utime(paths[0], ns=(1, 1))
    paths[1].write_bytes(encoded(50))
    paths[2].unlink()
    assert bench.run() == 1
    assert bench.names() == {name: before[name] for name in ("0.png", "1.png", "3.png")}
    item = bench.catalogue.find(paths[0])
    assert item is not None
    assert item.mtime_ns == 1
    assert bench.run() == 0
    assert bench.catalogue.tags() == {TAG: 3}


def test_moves_and_copies(bench: Bench, tmp_path: Path) -> None:
    for number in range(6):
        bench.put(f"{number}.png", number)
    bench.run()
    before = bench.names()
    (bench.folder / "0.png").rename(bench.folder / "renamed.png")
    (bench.folder / "new").mkdir()
    (bench.folder / "1.png").rename(bench.folder / "new" / "moved.png")
    shutil.copy(bench.folder / "2.png", bench.folder / "copy.png")
    (bench.folder / "3.png").rename(bench.folder / "x")
    (bench.folder / "4.png").rename(bench.folder / "3.png")
    (bench.folder / "x").rename(bench.folder / "4.png")
    for name in ("3.png", "4.png"):
        os.utime(bench.folder / name)
    assert bench.run(batch=1) <= 1  # one of two that swapped names may need to be read again
    after = bench.names()
    assert after["renamed.png"] == before["0.png"]
    assert after["new/moved.png"] == before["1.png"]
    assert after["2.png"] == before["2.png"] != after["copy.png"]
    assert len(after) == 7
    assert bench.catalogue.tags() == {TAG: 7}
    np.testing.assert_array_equal(
        bench.catalogue.vector(after["copy.png"], TAG), bench.catalogue.vector(after["2.png"], TAG)
    )
    other = tmp_path / "elsewhere"
    other.mkdir()
    (bench.folder / "5.png").rename(other / "5.png")
    assert bench.run(other) == 0, "only the new place is looked at, and the picture is followed there"
    assert bench.catalogue.find(other / "5.png").id == before["5.png"]  # type: ignore[union-attr]


def test_equal_files_are_embedded_once(bench: Bench) -> None:
    for number in range(9):
        bench.put(f"{number}.png", number % 3)
    assert bench.run(batch=4) == 3
    assert bench.catalogue.tags() == {TAG: 9}


def test_broken_files_are_told_of_and_tried_again_when_they_change(bench: Bench, read: list[str]) -> None:
    bench.put("good.png", 1)
    bad = bench.folder / "bad.png"
    bad.write_bytes(encoded(2)[:200])
    bench.run()
    assert bench.notes() == [f"'{bad}' is passed over: The picture is broken or cut off."]
    read.clear()
    bench.run()
    assert read == []
    assert [file.path for file in bench.catalogue.broken()] == [bad]
    assert "1 cannot be read" in bench.notes("info")[-1]
    bad.write_bytes(encoded(2))
    assert bench.run() == 1
    assert bench.catalogue.broken() == []
    bad.write_bytes(b"broken again")
    bench.run()
    assert list(bench.names()) == ["good.png"]
    bad.unlink()
    bench.run()
    assert bench.catalogue.broken() == []


def test_few_of_many_broken_files_are_named(bench: Bench) -> None:
    for number in range(20):
        (bench.folder / f"{number}.png").write_bytes(b"x%d" % number)
    bench.run()
    assert len(bench.notes()) == 5
    assert len(bench.catalogue.broken()) == 20


def test_what_may_not_be_read_is_tried_each_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("a.png", 1)

    def refuse(path: str, limit: int) -> bytes:
        try:
            raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise reading.BadPicture("The picture 'a.png' cannot be opened: Permission denied.") from error

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "read_bytes", refuse)
        bench.run()
    assert bench.notes()[0].endswith("passed over: The picture 'a.png' cannot be opened: Permission denied.")
    assert bench.run() == 1
    assert bench.catalogue.broken() == []


def test_a_file_that_vanishes_is_no_problem(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [bench.put(f"{number}.png", number) for number in range(3)]
    begin = indexing._read_and_record

    def vanish(*given: object) -> object:
        paths[1].unlink()
        return begin(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(indexing, "_read_and_record", vanish)
    bench.run()
    assert list(bench.names()) == ["0.png", "2.png"]
    assert bench.notes() == []
    assert bench.catalogue.broken() == []


def test_roots_that_are_not_there_keep_their_pictures(bench: Bench, tmp_path: Path) -> None:
    bench.put("a.png", 1)
    bench.run()
    bench.folder.rename(tmp_path / "away")
    bench.run()
    assert bench.catalogue.count() == 1
    assert "is not there; what the index has of it (1 picture) stays" in bench.notes()[0]
    bench.folder.mkdir()  # the mount point of a disk that is not mounted
    bench.run()
    assert bench.catalogue.count() == 1
    assert "is empty" in bench.notes()[0]
    bench.folder.rmdir()
    (tmp_path / "away").rename(bench.folder)
    assert bench.run() == 0
    assert bench.notes() == []


def test_unreadable_folders_keep_their_pictures(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("a.png", 1)
    bench.put("shut/b.png", 2)
    bench.run()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    bench.run()
    assert sorted(bench.names()) == ["a.png", "shut/b.png"]
    assert "cannot be read: Permission denied" in bench.notes()[0]


def test_rules_are_remembered_and_drop_what_they_leave_out(bench: Bench) -> None:
    for number, name in enumerate(("a.png", "b.gif.png", "private/c.png", ".hidden/d.png")):
        bench.put(name, number)
    bench.run()
    assert sorted(bench.names()) == ["a.png", "b.gif.png", "private/c.png"]
    bench.run(exclude=("private",), hidden=True)
    assert sorted(bench.names()) == [".hidden/d.png", "a.png", "b.gif.png"]
    bench.run()
    assert sorted(bench.names()) == [".hidden/d.png", "a.png", "b.gif.png"]
    bench.run(exclude=(), hidden=False)
    assert sorted(bench.names()) == ["a.png", "b.gif.png", "private/c.png"]


def test_nested_and_several_roots(bench: Bench, tmp_path: Path) -> None:
    bench.put("a.png", 1)
    bench.put("inner/b.png", 2)
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.png").write_bytes(encoded(3))
    assert bench.run(bench.folder / "inner", other) == 2
    assert bench.run(bench.folder) == 1
    assert bench.catalogue.count() == 3
    (bench.folder / "inner" / "b.png").unlink()
    (bench.folder / "inner" / "d.png").write_bytes(encoded(4))
    assert bench.run(bench.folder) == 1, "roots inside come along"
    items = bench.catalogue.items(bench.catalogue.ids())
    assert sorted(item.path.name for item in items) == ["a.png", "c.png", "d.png"]
    (other / "c.png").write_bytes(encoded(5))
    events = list(index_folders(bench.catalogue, bench.embedder))
    assert isinstance(events[-1], Note)
    assert "1 embedded" in events[-1].text, "without folders all are brought up to date"


def test_captions_follow_their_files(bench: Bench) -> None:
    path = bench.put("a.png", 1)
    bench.put("b.png", 2)
    note = bench.folder / "a.txt"
    note.write_text("a red fox\nin the snow\n")
    bench.run()

    def caption() -> str:
        item = bench.catalogue.find(path)
        assert item is not None
        return item.caption

    assert caption() == "a red fox\nin the snow"
    assert bench.catalogue.ids(parse_filter("caption:snow")).tolist() == [bench.names()["a.png"]]
    note.write_text("a blue fox")
    os.utime(note, ns=(5, 5))
    assert bench.run() == 0
    assert caption() == "a blue fox"
    note.unlink()
    assert bench.run() == 0
    assert caption() == ""


def test_two_models_side_by_side(bench: Bench) -> None:
    bench.put("a.png", 1)
    bench.put("b.png", 2)
    bench.run()
    second = FreeEmbedder()
    second.tag = "second"
    list(index_folders(bench.catalogue, second, [bench.folder]))
    assert bench.catalogue.tags() == {TAG: 2, "second": 2}
    assert second.seen == 2
    second.dim = 5
    with pytest.raises(BadInput, match="32 numbers"):
        list(index_folders(bench.catalogue, second, [bench.folder]))


def test_a_tag_of_an_older_version_is_taken_over(bench: Bench) -> None:
    bench.put("a.png", 1)
    bench.run()
    newer = FreeEmbedder()
    newer.tag, newer.former = "newer", (TAG,)  # type: ignore[attr-defined]
    assert bench.catalogue.tag_of(newer) == TAG
    list(index_folders(bench.catalogue, newer, [bench.folder]))
    assert newer.seen == 0, "nothing is embedded again"
    assert bench.catalogue.tags() == {"newer": 1}
    assert bench.catalogue.tag_of(newer) == "newer"


def test_progress_counts_what_is_on_the_disk(bench: Bench) -> None:
    for number in range(10):
        bench.put(f"{number}.png", number)
    events = index_folders(bench.catalogue, bench.embedder, [bench.folder], batch=4)
    done = []
    for event in events:
        if isinstance(event, Progress) and event.stage == "index":
            done.append((event.done, event.total))
            with Catalogue.open(bench.catalogue.folder) as other:
                assert other.count() == event.done
            if event.done == 8:
                events.close()  # type: ignore[attr-defined]
    assert done == [(4, 10), (8, 10)]
    assert bench.run() == 2


def test_vectors_that_are_no_numbers_are_refused(bench: Bench) -> None:
    class Broken(FreeEmbedder):
        def pictures(self, batch: np.ndarray) -> np.ndarray:
            vectors = super().pictures(batch)
            vectors[0] = np.nan
            return vectors

    for number in range(3):
        bench.put(f"{number}.png", number)
    bench.embedder = Broken()
    bench.run(workers=1)
    assert list(bench.names()) == ["1.png", "2.png"]
    assert [file.path.name for file in bench.catalogue.broken()] == ["0.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: [], "There is nothing to index yet"),
        (lambda place: [place / "none"], "'.*none' does not exist"),
        (lambda place: [place / "file.png"], "is no folder; give the folder"),
    ],
)
def test_what_is_no_folder(bench: Bench, tmp_path: Path, make: object, message: str) -> None:
    (tmp_path / "file.png").touch()
    roots: Sequence[Path] = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(BadInput, match=message):
        list(index_folders(bench.catalogue, bench.embedder, roots))
    assert bench.catalogue.roots() == []


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_hostile_folder(bench: Bench) -> None:
    good, bad = make_folder(bench.folder / "all", 200)
    bench.run(batch=16)
    found = {os.fsencode(item.path) for item in bench.catalogue.items(bench.catalogue.ids())}
    assert found == good
    assert {os.fsencode(file.path) for file in bench.catalogue.broken()} == bad
    assert all(file.reason.endswith(".") for file in bench.catalogue.broken())
    assert bench.catalogue.tags() == {TAG: len(good)}
    assert bench.run() == 0


def test_size_is_of_the_upright_picture(bench: Bench) -> None:
    picture = Image.new("RGB", (400, 200), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(bench.folder / "a.jpg", exif=exif)
    bench.run()
    (item,) = bench.catalogue.items(bench.catalogue.ids())
    assert (item.width, item.height) == (200, 400)
