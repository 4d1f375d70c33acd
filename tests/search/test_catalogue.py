"""The catalogue: what it keeps, what it gives back, and what it refuses."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from lienzo.core.errors import BadInput
from lienzo.search import catalogue_changes
from lienzo.search.catalogue import Catalogue, Entry, Filter, Refused
from lienzo.search.catalogue_file import APPLICATION, FILE, VERSION

TAG, DIM = "toy", 4


def vector(*numbers: float) -> np.ndarray:
    given = np.array(numbers, np.float32)
    return given / np.linalg.norm(given)


def entry(root: int, path: bytes, content: bytes = b"", **more: object) -> Entry:
    plain = Entry(root, path, 10, 20, (content or path).ljust(32, b"."), 640, 480, "", 0)
    return plain._replace(**more)  # type: ignore[arg-type]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    (tmp_path / "pictures").mkdir()
    return Catalogue.open(tmp_path / "index", create=True)


@pytest.fixture
def root(catalogue: Catalogue, tmp_path: Path) -> int:
    return catalogue.add_root(tmp_path / "pictures").id


def test_items_come_back_as_they_were_given(catalogue: Catalogue, root: int, tmp_path: Path) -> None:
    names = [b"a.png", b"sub/\xff\xfe.png", "two\nlines 🦊.png".encode()]
    entries = [entry(root, name, caption="a fox", size=n, mtime_ns=2**60 + n) for n, name in enumerate(names)]
    ids = catalogue.record(TAG, DIM, entries, [vector(1, n, 2, 3) for n in range(3)])
    items = catalogue.items([ids[2], 99, ids[0], ids[1]])
    assert [item.id for item in items] == [ids[2], ids[0], ids[1]]
    assert os.fsencode(items[2].path) == os.fsencode(tmp_path / "pictures") + b"/" + names[1]
    assert (items[0].size, items[0].mtime_ns, items[0].width, items[0].height) == (2, 2**60 + 2, 640, 480)
    assert (items[0].caption, items[0].sha256) == ("a fox", entries[2].sha256.hex())
    assert catalogue.find(items[2].path) == items[2]
    assert catalogue.find(tmp_path / "pictures" / "x.png") is None
    assert catalogue.find("/elsewhere.png") is None
    assert catalogue.count() == 3
    assert catalogue.tags() == {TAG: 3}


def test_find_through_links_and_relative(
    catalogue: Catalogue, root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (number,) = catalogue.record(TAG, DIM, [entry(root, b"a.png")], [vector(1, 0, 0, 0)])
    (tmp_path / "link").symlink_to(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    for path in ("pictures/a.png", "link/a.png", "./pictures/../pictures/a.png"):
        found = catalogue.find(path)
        assert found is not None
        assert found.id == number


def test_vectors_are_half_precise_and_of_length_one(catalogue: Catalogue, root: int) -> None:
    given = vector(0.1, 0.2, 0.3, 0.4)
    (number,) = catalogue.record(TAG, DIM, [entry(root, b"a")], [given])
    back = catalogue.vector(number, TAG)
    assert back is not None
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, given, atol=1e-3)
    assert abs(float(np.linalg.norm(back)) - 1) < 1e-6
    assert catalogue.vector(number, "other") is None
    assert catalogue.vector(99, TAG) is None


def test_source_tells_of_changes(catalogue: Catalogue, root: int) -> None:
    source = catalogue.source(TAG, DIM)
    assert (source.generation(), source.count(), list(source.parts())) == (0, 0, [])
    a, b = catalogue.record(TAG, DIM, [entry(root, b"a"), entry(root, b"b")], [vector(1, 0, 0, 0), vector(0, 1, 0, 0)])
    first = source.generation()
    ((ids, vectors),) = source.parts()
    assert ids.tolist() == [a, b]
    np.testing.assert_allclose(vectors, np.eye(4, dtype=np.float32)[:2])
    assert [len(part) for part in source.changes(first)] == [0, 0, 0]
    assert source.changes(first).vectors.shape == (0, DIM)

    (c,) = catalogue.record(TAG, DIM, [entry(root, b"c")], [vector(0, 0, 1, 0)])
    catalogue.record(TAG, DIM, [entry(root, b"a", b"new")], [vector(0, 0, 0, 1)])
    assert catalogue.drop(root, [(b, b"b")]) == 1
    changes = source.changes(first)
    assert changes.ids.tolist() == [a, c]
    assert changes.gone.tolist() == [b]
    assert source.count() == 2
    assert source.changes(0).ids.tolist() == [a, c]
    assert source.changes(source.generation()).gone.tolist() == []


def test_content_that_changed_has_no_old_vectors(catalogue: Catalogue, root: int) -> None:
    (a,) = catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)])
    catalogue.record("other", 2, [entry(root, b"a")], [vector(1, 1)])
    before = catalogue.generation()
    catalogue.record(TAG, DIM, [entry(root, b"a", b"new")], [vector(0, 1, 0, 0)])
    assert catalogue.vector(a, "other") is None
    assert catalogue.source("other").changes(before).gone.tolist() == [a]
    assert catalogue.source(TAG).changes(before).gone.tolist() == []
    catalogue.record("other", 2, [entry(root, b"a", b"new")], [vector(1, 2)])
    assert catalogue.source("other").changes(before).gone.tolist() == []
    assert catalogue.tags() == {TAG: 1, "other": 1}


def test_ids_are_never_given_again(catalogue: Catalogue, root: int) -> None:
    (a,) = catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)])
    catalogue.drop(root, [(a, b"a")])
    (b,) = catalogue.record(TAG, DIM, [entry(root, b"b")], [vector(1, 0, 0, 0)])
    assert b > a


def test_moved_and_copied(catalogue: Catalogue, root: int, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "a").touch()
    (a,) = catalogue.record(TAG, DIM, [entry(root, b"a", b"same")], [vector(1, 2, 0, 0)])
    generation = catalogue.generation()
    (copy,) = catalogue.record(TAG, DIM, [entry(root, b"copy", b"same")], [None])
    assert copy != a
    np.testing.assert_array_equal(catalogue.vector(copy, TAG), catalogue.vector(a, TAG))
    assert catalogue.source(TAG).changes(generation).ids.tolist() == [copy]
    (folder / "a").rename(folder / "b")
    (folder / "copy").touch()
    (moved,) = catalogue.record(TAG, DIM, [entry(root, b"b", b"same")], [None])
    assert moved == a
    assert catalogue.items([a])[0].path == folder / "b"
    assert catalogue.drop(root, [(a, b"a")]) == 0, "a picture that moved meanwhile stays"


def test_broken_files(catalogue: Catalogue, root: int, tmp_path: Path) -> None:
    (a,) = catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)])
    catalogue.record(TAG, DIM, [], [], [Refused(root, b"a", "It is cut off.", 5, 6)])
    assert catalogue.items([a]) == []
    (broken,) = catalogue.broken()
    assert (broken.path, broken.reason, broken.size) == (tmp_path / "pictures" / "a", "It is cut off.", 5)
    assert catalogue.known_broken(root) == {b"a": (5, 6)}
    catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)])
    assert catalogue.broken() == []


def test_filters(catalogue: Catalogue, root: int, tmp_path: Path) -> None:
    entries = [
        entry(root, b"holiday/Fox.JPG", caption="A red FOX\nÜBER the hill", width=100, mtime_ns=50),
        entry(root, b"holiday_2/dog.png", caption="a dog", height=100, mtime_ns=60),
        entry(root, b"cat.png", mtime_ns=70),
    ]
    fox, dog, cat = catalogue.record(TAG, DIM, entries, [vector(1, 0, 0, n) for n in range(3)])
    cases: list[tuple[Filter | None, list[int]]] = [
        (None, [fox, dog, cat]),
        (Filter("items.width >= ? AND items.height >= ?", (100, 100)), [fox, dog, cat]),
        (Filter("named(items.path, ?)", ("*.jpg",)), [fox]),
        (Filter("named(items.path, ?)", ("holiday/*",)), [fox]),
        (Filter("instr(fold(items.caption), ?)", ("über",)), [fox]),
        (Filter("items.mtime_ns < ?", (60,)), [fox]),
        (Filter("0"), []),
    ]
    for where, expected in cases:
        ids = catalogue.ids(where)
        assert ids.dtype == np.int64
        assert ids.tolist() == expected, where


def test_nested_roots_share_nothing(catalogue: Catalogue, root: int, tmp_path: Path) -> None:
    inner = tmp_path / "pictures" / "inner"
    entries = [entry(root, b"a"), entry(root, b"inner/b"), entry(root, b"inner_not/c")]
    a, b, c = catalogue.record(TAG, DIM, entries, [vector(1, 0, 0, n) for n in range(3)])
    catalogue.add_root(inner, exclude=["*.gif"])
    assert [(r.path, r.items, r.exclude) for r in catalogue.roots()] == [
        (tmp_path / "pictures", 2, ()),
        (inner, 1, ("*.gif",)),
    ]
    assert [item.path for item in catalogue.items([a, b, c])] == [
        tmp_path / "pictures" / name for name in ("a", "inner/b", "inner_not/c")
    ]
    # another process that walks the outer root still speaks of the path below it
    assert catalogue.record(TAG, DIM, [entry(root, b"inner/b")], [None]) == [b]
    assert catalogue.count() == 3
    found = catalogue.find(inner / "b")
    assert found is not None
    assert found.id == b


def test_thousands_of_copies_do_not_ask_for_each_other(
    catalogue: Catalogue, root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n}.png".encode() for n in range(60)]
    for name in names:
        (tmp_path / "pictures" / os.fsdecode(name)).touch()
    asked: list[str] = []
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: asked.append(path) or lstat(path))
    monkeypatch.setattr(catalogue_changes, "COPIES", 10)
    ids = catalogue.record(TAG, DIM, [entry(root, name, b"same") for name in names], [vector(1, 0, 0, 0)] * 60)
    assert len(set(ids)) == 60
    assert len(asked) <= 60 * 10
    (tmp_path / "pictures" / "3.png").unlink()
    assert catalogue.record(TAG, DIM, [entry(root, b"new.png", b"same")], [None]) == [ids[3]]


def test_removing_a_root(catalogue: Catalogue, root: int, tmp_path: Path) -> None:
    (a,) = catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)], [Refused(root, b"x", "no", 1, 1)])
    before = catalogue.generation()
    with pytest.raises(BadInput, match=r"not indexed as a folder of its own; the index has '.*pictures'"):
        catalogue.remove_root(tmp_path)
    assert catalogue.remove_root(tmp_path / "pictures") == 1
    assert (catalogue.count(), catalogue.broken(), catalogue.roots()) == (0, [], [])
    assert catalogue.source(TAG).changes(before).gone.tolist() == [a]
    assert catalogue.record(TAG, DIM, [entry(root, b"b")], [vector(1, 0, 0, 0)]) == [0]
    assert catalogue.count() == 0


def test_reopening(catalogue: Catalogue, root: int, tmp_path: Path) -> None:
    (a,) = catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)])
    catalogue.close()
    with Catalogue.open(tmp_path / "index") as again:
        assert again.items([a])[0].path == tmp_path / "pictures" / "a"
        mode, synchronous = (again._rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous"))
        assert (mode, synchronous) == ("wal", 2)


def test_a_change_is_whole_or_not_at_all(catalogue: Catalogue, root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = entry(root, b"b", width=None)
    with pytest.raises(BadInput, match="cannot be written"):
        catalogue.record(TAG, DIM, [entry(root, b"a"), bad], [vector(1, 0, 0, 0), vector(1, 0, 0, 0)])
    assert catalogue.count() == 0
    assert catalogue.generation() == 0
    catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)])
    assert catalogue.count() == 1


def test_unknown_models(catalogue: Catalogue, root: int) -> None:
    with pytest.raises(BadInput, match="no vectors of the model 'x'; it is empty"):
        catalogue.source("x")
    catalogue.record(TAG, DIM, [entry(root, b"a")], [vector(1, 0, 0, 0)])
    with pytest.raises(BadInput, match="it has toy"):
        catalogue.source("x")
    with pytest.raises(BadInput, match="4 numbers for 'toy', not of 5"):
        catalogue.source(TAG, 5)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no picture index"):
        Catalogue.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be made"):
        Catalogue.open(tmp_path / "file", create=True)
    (tmp_path / FILE).write_bytes(b"this is no database, only text " * 100)
    with pytest.raises(BadInput, match="is broken or no database"):
        Catalogue.open(tmp_path, create=True)


def test_questions_about_one_picture_do_not_look_through_all(catalogue: Catalogue, root: int) -> None:
    names = [b"%d" % number for number in range(3000)]
    ids = catalogue.record(TAG, DIM, [entry(root, name) for name in names], [vector(1, 2, 3, n) for n in range(3000)])
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    catalogue._connection.set_progress_handler(count, 10)
    path = catalogue.items(ids[2990:2991])[0].path
    for ask in (
        lambda: catalogue.content(names[2990].ljust(32, b"."), TAG),
        lambda: catalogue.find(path),
        lambda: catalogue.known(root, TAG, names[2990:2992]),
        lambda: catalogue.vector(ids[2990], TAG),
        lambda: catalogue.last_id(),
        lambda: catalogue.record(TAG, DIM, [entry(root, names[2990]), entry(root, b"new", names[2991])], [None, None]),
        lambda: catalogue.drop(root, [(ids[2990], names[2990])]),
    ):
        steps = 0
        assert ask() is not None
        assert 10 * steps < 1000


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["CREATE TABLE theirs (x)"], "a database of another program"),
        (
            [f"PRAGMA application_id = {APPLICATION}", "CREATE TABLE t (x)", f"PRAGMA user_version = {VERSION + 1}"],
            "newer",
        ),
    ],
)
def test_foreign_and_newer_files_are_refused_untouched(tmp_path: Path, statements: list[str], message: str) -> None:
    file = sqlite3.connect(tmp_path / FILE)
    for statement in statements:
        file.execute(statement)
    file.commit()
    file.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(BadInput, match=message):
        Catalogue.open(tmp_path, create=True)
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
