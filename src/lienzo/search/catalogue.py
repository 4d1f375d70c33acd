"""The truth of a picture index: one SQLite file of what pictures there are and what vectors they have.

What is promised: when a writing method has returned, its change is on the disk. It survives the death of the process
at any moment (kill -9) and, where the disk keeps its own promise about fsync, a power cut; a change that was under way
is there wholly or not at all. That is SQLite's write-ahead log with synchronous=FULL. Several processes may read and
write at once; writers wait for one another. Everything else in the folder of an index may be deleted at any time.

Paths are kept as the bytes of the file system, relative to the folder that was indexed, so that names that are no
text are kept too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.search import catalogue_file
from lienzo.search.catalogue_changes import (
    Entry,
    Refused,
    Run,
    at_home,
    blobs_of,
    forget,
    marks,
    next_generation,
    put,
    refuse,
    settle,
)
from lienzo.search.seams import Changes, Embedder

_PART = 8192  # rows read at once
_CHUNK = 500  # values in one question


@dataclass(frozen=True, slots=True)
class Item:
    """A picture of the index."""

    id: int
    path: Path
    """Absolute."""
    size: int
    """Bytes of the file."""
    mtime_ns: int
    """Time of change, nanoseconds since 1970."""
    sha256: str
    """Of the file, in hexadecimal."""
    width: int
    """In pixels, upright."""
    height: int
    caption: str
    """Lines of the text file beside it; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that is indexed with everything in it."""

    id: int
    path: Path
    exclude: tuple[str, ...]
    """Patterns of names or relative paths that are passed over."""
    hidden: bool
    """Whether names that begin with a dot are taken too."""
    items: int
    """Pictures it has in the index."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that looks like a picture and cannot be read. It is tried again when its size or time changes."""

    path: Path
    reason: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on the rows of `items`, with a value for each question mark; see `filters.parse_filter`."""

    sql: str
    parameters: tuple[str | int, ...] = ()


class Known(NamedTuple):
    """What the catalogue holds about a file."""

    id: int
    size: int
    mtime_ns: int
    note: int
    embedded: bool


class Catalogue:
    """A picture index. Methods may be called from several threads.

    Every method raises BadInput when the disk is full or another process keeps the file for too long.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection):
        self.folder = folder
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, folder: str | Path, create: bool = False) -> Self:
        """The index in a folder.

        Args:
            folder: where `catalogue.sqlite` is, and the caches of those who search.
            create: whether to make a new one where there is none.

        Raises:
            BadInput: there is none, a newer Lienzo wrote it, or the file is something else, broken or not writable.
        """
        return cls(Path(folder), catalogue_file.connect(Path(folder), create))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What there is

    def generation(self) -> int:
        """The number of the last change of any vector."""
        return self._rows("SELECT generation FROM state")[0][0]

    def source(self, tag: str, dim: int | None = None) -> CatalogueSource:
        """The vectors of one model, as a `VectorSource`.

        Args:
            tag: names the model.
            dim: length of its vectors; needed for a model that the index does not know yet.

        Raises:
            BadInput: the index has no vectors of this model, or of another length.
        """
        known = dict(self._rows("SELECT tag, dim FROM models"))
        length = known.get(tag, dim)
        if length is None:
            there = f"it has {', '.join(printable(t, 100) for t in known)}" if known else "it is empty"
            raise BadInput(f"The index has no vectors of the model '{printable(tag, 100)}'; {there}.")
        if dim not in (None, length):
            raise BadInput(f"The index has vectors of {length} numbers for '{printable(tag, 100)}', not of {dim}.")
        return CatalogueSource(self, tag, length)

    def cache(self, tag: str) -> Path:
        """The folder for what a search keeps about one model; it may not exist, and may be deleted at any time."""
        return self.folder / "caches" / hashlib.sha256(tag.encode()).hexdigest()[:16]

    def tags(self) -> dict[str, int]:
        """How many vectors there are of each model."""
        return dict(
            self._rows("SELECT tag, count(item) FROM models m LEFT JOIN vectors v ON v.model = m.id GROUP BY m.id")
        )

    def tag_of(self, embedder: Embedder) -> str:
        """The tag that a CLIP's vectors have here: its own, or one that it had in an older version of Lienzo."""
        there = self.tags()
        former = (tag for tag in getattr(embedder, "former", ()) if there.get(tag))
        return embedder.tag if there.get(embedder.tag) else next(former, embedder.tag)

    def rename(self, tag: str, new: str) -> None:
        """Give a model another tag, unless there is a model of that tag."""
        with self._writing() as run:
            run("UPDATE OR IGNORE models SET tag = ? WHERE tag = ?", (new, tag))
        shutil.rmtree(self.cache(tag), ignore_errors=True)

    def count(self) -> int:
        """Pictures there are."""
        return self._rows("SELECT count(*) FROM items")[0][0]

    def items(self, ids: Iterable[int]) -> list[Item]:
        """The pictures with these ids, in this order; ids that are gone are passed over."""
        wanted = [int(number) for number in ids]
        found: dict[int, Item] = {}
        for chunk in _chunks(list(dict.fromkeys(wanted))):
            found.update((item.id, item) for item in self._items(f"items.id IN ({marks(chunk)})", chunk))
        return [found[number] for number in wanted if number in found]

    def find(self, path: str | Path) -> Item | None:
        """The picture at a path, or None."""
        plain = Path(os.path.abspath(path))
        for place in dict.fromkeys((plain, Path(os.path.realpath(plain.parent)) / plain.name)):
            for number, root in self._root_paths():
                if place.is_relative_to(root):
                    inner = os.fsencode(place.relative_to(root).as_posix())
                    items = self._items("items.root = ? AND items.path = ?", (number, inner))
                    if items:
                        return items[0]
        return None

    def ids(self, where: Filter | None = None) -> np.ndarray:
        """The ids, int64 and rising, of all pictures or of those that fit."""
        where = where or Filter("1")
        rows = self._rows(f"SELECT items.id FROM items WHERE {where.sql} ORDER BY items.id", where.parameters)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def vector(self, id: int, tag: str) -> np.ndarray | None:
        """The unit vector of a picture, float32 (D,), or None where it has none of this model."""
        rows = self._rows(
            "SELECT vector FROM vectors v JOIN models m ON m.id = v.model WHERE item = ? AND tag = ?", (int(id), tag)
        )
        return _unpacked([rows[0][0]])[0] if rows else None

    def roots(self) -> list[Root]:
        """The folders that are indexed, by path."""
        rows = self._rows(
            "SELECT id, path, exclude, hidden, (SELECT count(*) FROM items i WHERE i.root = r.id) FROM roots r "
            "ORDER BY path"
        )
        return [Root(n, Path(os.fsdecode(p)), tuple(json.loads(e)), bool(h), count) for n, p, e, h, count in rows]

    def broken(self) -> list[Broken]:
        """The files that cannot be read, by path."""
        rows = self._rows(
            "SELECT r.path, b.path, reason, size, mtime_ns FROM broken b JOIN roots r ON r.id = b.root "
            "ORDER BY r.path, b.path"
        )
        return [Broken(_joined(root, path), *rest) for root, path, *rest in rows]

    # What indexing asks

    def known(self, root: int, tag: str, paths: Sequence[bytes]) -> dict[bytes, Known]:
        """What there is about these files of a root; `embedded` is about the model `tag`."""
        found: dict[bytes, Known] = {}
        for chunk in _chunks(paths):
            rows = self._rows(
                "SELECT path, i.id, size, mtime_ns, note, EXISTS (SELECT 1 FROM vectors v JOIN models m "
                "ON m.id = v.model WHERE v.item = i.id AND m.tag = ?) FROM items i "
                f"WHERE root = ? AND path IN ({marks(chunk)})",
                (tag, root, *chunk),
            )
            found.update((row[0], Known(row[1], row[2], row[3], row[4], bool(row[5]))) for row in rows)
        return found

    def known_broken(self, root: int) -> dict[bytes, tuple[int, int]]:
        """Size and time of the files of a root that could not be read."""
        return {p: (s, m) for p, s, m in self._rows("SELECT path, size, mtime_ns FROM broken WHERE root = ?", (root,))}

    def content(self, sha256: bytes, tag: str) -> tuple[int, int] | None:
        """Width and height of a content that has a vector of the model, or None."""
        rows = self._rows(
            # CROSS JOIN: SQLite keeps this order. By itself it would look through all vectors of the model.
            "SELECT width, height FROM items i CROSS JOIN vectors v ON v.item = i.id JOIN models m ON m.id = v.model "
            "WHERE sha256 = ? AND tag = ? LIMIT 1",
            (sha256, tag),
        )
        return rows[0] if rows else None

    def last_id(self) -> int:
        """The largest id of a picture, 0 where there is none."""
        return self._rows("SELECT coalesce(max(id), 0) FROM items")[0][0]

    def places(self, root: int) -> Iterator[tuple[int, bytes, int, int]]:
        """Id, path, size and time of all pictures of a root, by id."""
        last = 0
        while True:
            rows = self._rows(
                "SELECT id, path, size, mtime_ns FROM items NOT INDEXED WHERE root = ? AND id > ? ORDER BY id LIMIT ?",
                (root, last, _PART),
            )
            if not rows:
                return
            yield from rows
            last = rows[-1][0]

    # Changes

    def add_root(self, path: Path, exclude: Sequence[str] | None = None, hidden: bool | None = None) -> Root:
        """Note a folder to index; one that is noted takes the given rules, None leaves them as they are.

        Where it lies in another root it is a root of its own from now on, and takes its pictures along.

        Args:
            path: absolute, without links.
            exclude: patterns of names or relative paths to pass over.
            hidden: whether to take names that begin with a dot.
        """
        name = os.fsencode(path)
        with self._writing() as run:
            run("INSERT OR IGNORE INTO roots (path, exclude, hidden) VALUES (?, '[]', 0)", (name,))
            (number,) = run("SELECT id FROM roots WHERE path = ?", (name,)).fetchone()
            if exclude is not None:
                run("UPDATE roots SET exclude = ? WHERE id = ?", (json.dumps(list(exclude)), number))
            if hidden is not None:
                run("UPDATE roots SET hidden = ? WHERE id = ?", (hidden, number))
            outer = [root for root in self.roots() if root.path != path and path.is_relative_to(root.path)]
            if outer:
                root = max(outer, key=lambda each: len(each.path.parts))
                start = os.fsencode(path.relative_to(root.path).as_posix()) + b"/"
                for table in ("items", "broken"):
                    sql = (
                        f"UPDATE {table} SET root = ?, path = substr(path, ?) WHERE root = ? AND substr(path, 1, ?) = ?"
                    )
                    run(sql, (number, len(start) + 1, root.id, len(start), start))
        return next(root for root in self.roots() if root.id == number)

    def remove_root(self, path: Path) -> int:
        """Forget a root and all its pictures; the files are not touched. Returns how many pictures.

        Raises:
            BadInput: it is not a root.
        """
        roots = {root.path: root.id for root in self.roots()}
        if path not in roots:
            there = ", ".join(f"'{printable(str(root), 200)}'" for root in roots)
            what = f"the index has {there}" if roots else "the index has no folders"
            raise BadInput(f"'{printable(str(path), 200)}' is not indexed as a folder of its own; {what}.")
        with self._writing() as run:
            ids = [row[0] for row in run("SELECT id FROM items WHERE root = ?", (roots[path],))]
            forget(run, ids)
            run("DELETE FROM broken WHERE root = ?", (roots[path],))
            run("DELETE FROM roots WHERE id = ?", (roots[path],))
        return len(ids)

    def record(
        self,
        tag: str,
        dim: int,
        entries: Sequence[Entry],
        vectors: Sequence[np.ndarray | None],
        refused: Sequence[Refused] = (),
    ) -> list[int]:
        """Record files that were read, in one change.

        A file whose content belongs to a picture that is no longer at its old place is that picture, moved: id and
        vectors stay. A picture whose content changed loses its vectors of other models.

        Args:
            tag: names the model.
            dim: length D of its vectors.
            entries: the files. Those of roots that another process has removed meanwhile are passed over.
            vectors: a unit vector (D,) for each; None where the same content has one already.
            refused: files that could not be read; pictures recorded at their paths go.

        Returns:
            The ids of the entries, in their order; 0 for one that was passed over.
        """
        with self._writing() as run:
            run("INSERT OR IGNORE INTO models (tag, dim) VALUES (?, ?)", (tag, dim))
            (model,) = run("SELECT id FROM models WHERE tag = ?", (tag,)).fetchone()
            generation = next_generation(run)
            roots = {number: os.fsdecode(path) for number, path in run("SELECT id, path FROM roots")}
            blobs = blobs_of(run, model, entries, vectors)
            ids = [settle(run, at_home(entry, roots), roots) if entry.root in roots else 0 for entry in entries]
            for number, entry in zip(ids, entries):
                if number and entry.sha256 in blobs:
                    put(run, model, number, generation, blobs[entry.sha256])
            for file in refused:
                if file.root in roots:
                    refuse(run, at_home(file, roots))
        return ids

    def note(self, id: int, caption: str, note: int) -> None:
        """Give a picture another caption."""
        with self._writing() as run:
            run("UPDATE items SET caption = ?, note = ? WHERE id = ?", (caption, note, id))

    def drop(self, root: int, places: Sequence[tuple[int, bytes]], mended: Sequence[bytes] = ()) -> int:
        """Forget pictures (id, path) of a root that are no longer there, and broken files. Returns how many pictures.

        A picture that moved meanwhile stays.
        """
        if not places and not mended:
            return 0
        with self._writing() as run:
            still = [
                number
                for number, path in places
                if run("SELECT 1 FROM items WHERE id = ? AND root = ? AND path = ?", (number, root, path)).fetchone()
            ]
            forget(run, still)
            for path in mended:
                run("DELETE FROM broken WHERE root = ? AND path = ?", (root, path))
        return len(still)

    # Inside

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise BadInput(f"The picture index cannot be read: {catalogue_file.reason(error)}.") from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Several questions about one moment, whatever other processes write meanwhile."""
        with self._lock:
            self._rows("BEGIN")
            try:
                yield
            finally:
                self._rows("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[Run]:
        """One change: on the disk at the end of the block, or not at all."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection.execute
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise BadInput(f"The picture index cannot be written: {catalogue_file.reason(error)}.") from error

    def _items(self, condition: str, values: Sequence[Any]) -> list[Item]:
        rows = self._rows(
            "SELECT items.id, roots.path, items.path, size, mtime_ns, sha256, width, height, caption "
            f"FROM items JOIN roots ON roots.id = items.root WHERE {condition}",
            values,
        )
        return [Item(n, _joined(root, path), s, m, sha.hex(), *rest) for n, root, path, s, m, sha, *rest in rows]

    def _root_paths(self) -> list[tuple[int, Path]]:
        return [(number, Path(os.fsdecode(path))) for number, path in self._rows("SELECT id, path FROM roots")]


class CatalogueSource:
    """The vectors of one model in a catalogue: a `VectorSource`.

    Vectors are kept in half precision; what is handed out is float32 and of length 1 again. Whoever copies them
    asks for `generation` first, then for `parts`, and later for `changes` since that generation: what others write
    meanwhile may be in both and is missed by neither.
    """

    def __init__(self, catalogue: Catalogue, tag: str, dim: int):
        self.tag = tag
        self.dim = dim
        self._catalogue = catalogue

    def generation(self) -> int:
        """The number of the last change."""
        return self._catalogue.generation()

    def count(self) -> int:
        """Vectors there are now."""
        return self._rows("SELECT count(*) FROM vectors WHERE model = ?", self._model())[0][0]

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids (n,) int64 and vectors (n, D) float32, in parts, by rising id."""
        last, model = 0, self._model()
        while True:
            sql = "SELECT item, vector FROM vectors WHERE model = ? AND item > ? ORDER BY item LIMIT ?"
            rows = self._rows(sql, model, last, _PART)
            if not rows:
                return
            last = rows[-1][0]
            yield np.array([row[0] for row in rows], np.int64), _unpacked([row[1] for row in rows])

    def changes(self, since: int) -> Changes:
        """What changed after generation `since`."""
        with self._catalogue._reading():
            model = self._model()
            sql = "SELECT item, vector FROM vectors WHERE model = ? AND generation > ? ORDER BY item"
            rows = self._rows(sql, model, since)
            gone = self._rows("SELECT item FROM gone WHERE model = ? AND generation > ? ORDER BY item", model, since)
        vectors = _unpacked([row[1] for row in rows]) if rows else np.empty((0, self.dim), np.float32)
        return Changes(
            np.array([row[0] for row in rows], np.int64), vectors, np.array([row[0] for row in gone], np.int64)
        )

    def _model(self) -> int:
        rows = self._rows("SELECT id FROM models WHERE tag = ?", self.tag)
        return rows[0][0] if rows else 0

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return self._catalogue._rows(sql, values)


def _joined(root: bytes, path: bytes) -> Path:
    return Path(os.fsdecode(root)) / os.fsdecode(path)


def _unpacked(blobs: Sequence[bytes]) -> np.ndarray:
    """Vectors (n, D) in half precision as float32 of length 1."""
    vectors = np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), -1).astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
