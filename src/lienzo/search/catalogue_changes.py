"""The steps of which changes to a catalogue are made, each inside a transaction that the catalogue opens."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

COPIES = 100
"""Pictures of one content that are looked at for one that moved: of thousands of copies each would ask for each."""
Run = Callable[..., sqlite3.Cursor]
"""Executes one statement."""
Placed = TypeVar("Placed", "Entry", "Refused")


class Entry(NamedTuple):
    """A file that was read, as it is to be recorded."""

    root: int
    path: bytes
    """Relative to the root, ``/`` between folders."""
    size: int
    mtime_ns: int
    sha256: bytes
    width: int
    height: int
    caption: str
    note: int
    """Stamp of the caption's file, 0 where there is none."""


class Refused(NamedTuple):
    """A file that could not be read, as it is to be recorded."""

    root: int
    path: bytes
    reason: str
    size: int
    mtime_ns: int


def settle(run: Run, entry: Entry, roots: dict[int, str]) -> int:
    """The id of a file's picture: the one at its path, one that moved here, or a new one."""
    run("DELETE FROM broken WHERE root = ? AND path = ?", (entry.root, entry.path))
    row = run("SELECT id, sha256 FROM items WHERE root = ? AND path = ?", (entry.root, entry.path)).fetchone()
    number = row[0] if row else _moved(run, entry, roots)
    if number is None:
        return run(
            "INSERT INTO items (root, path, size, mtime_ns, sha256, width, height, caption, note, added) "
            f"VALUES ({marks((*entry, 0))})",
            (*entry, int(time.time())),
        ).lastrowid  # type: ignore[return-value]
    if row and row[1] != entry.sha256:
        _forget_vectors(run, [number])
    run(
        "UPDATE items SET root = ?, path = ?, size = ?, mtime_ns = ?, sha256 = ?, width = ?, height = ?, caption = ?, "
        "note = ? WHERE id = ?",
        (*entry, number),
    )
    return number


def _moved(run: Run, entry: Entry, roots: dict[int, str]) -> int | None:
    """A picture of the same content whose file is no longer where it was, though its root is there."""
    new = os.path.join(roots[entry.root], os.fsdecode(entry.path))
    same = run("SELECT id, root, path FROM items WHERE sha256 = ? ORDER BY id LIMIT ?", (entry.sha256, COPIES))
    for number, root, path in same:
        old = os.path.join(roots[root], os.fsdecode(path))
        if os.path.isdir(roots[root]) and _has_left(old, new):
            return number
    return None


def _has_left(old: str, new: str) -> bool:
    try:
        status = os.lstat(old)
        # On file systems that do not tell "A.png" from "a.png" the old name still leads to the file.
        return old.casefold() == new.casefold() and status.st_nlink == 1 and os.path.samestat(status, os.lstat(new))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def at_home(file: Placed, roots: dict[int, str]) -> Placed:
    """The file as one of the innermost root around it, which another process may have made meanwhile."""
    path = os.path.join(roots[file.root], os.fsdecode(file.path))
    around = [number for number, root in roots.items() if path.startswith(root.rstrip(os.sep) + os.sep)]
    root = max(around, key=lambda number: len(roots[number]), default=file.root)
    if root == file.root:
        return file
    inner = os.fsencode(Path(path).relative_to(roots[root]).as_posix())
    return file._replace(root=root, path=inner)


def blobs_of(
    run: Run, model: int, entries: Sequence[Entry], vectors: Sequence[np.ndarray | None]
) -> dict[bytes, bytes]:
    """The vectors of contents, as they are stored: the given ones, else those that are there before the change."""
    blobs = {e.sha256: v.astype("<f2").tobytes() for e, v in zip(entries, vectors) if v is not None}
    for entry in entries:
        if entry.sha256 not in blobs:
            row = run(
                "SELECT vector FROM items i CROSS JOIN vectors v ON v.item = i.id WHERE sha256 = ? AND v.model = ? "
                "LIMIT 1",
                (entry.sha256, model),
            ).fetchone()
            if row:
                blobs[entry.sha256] = row[0]
    return blobs


def put(run: Run, model: int, item: int, generation: int, vector: bytes) -> None:
    """Give a picture a vector; one that it has already is not written again, nor told of."""
    if run("SELECT 1 FROM vectors WHERE model = ? AND item = ? AND vector = ?", (model, item, vector)).fetchone():
        return
    run(
        "INSERT INTO vectors (model, item, generation, vector) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (model, item) DO UPDATE SET generation = excluded.generation, vector = excluded.vector",
        (model, item, generation, vector),
    )
    run("DELETE FROM gone WHERE model = ? AND item = ?", (model, item))


def refuse(run: Run, file: Refused) -> None:
    """Note a file that cannot be read; a picture recorded at its path goes."""
    rows = run("SELECT id FROM items WHERE root = ? AND path = ?", (file.root, file.path)).fetchall()
    forget(run, [row[0] for row in rows])
    run("INSERT OR REPLACE INTO broken (root, path, reason, size, mtime_ns) VALUES (?, ?, ?, ?, ?)", file)


def forget(run: Run, ids: Sequence[int]) -> None:
    """Delete pictures with their vectors, and note for caches that they are gone."""
    _forget_vectors(run, ids)
    for number in ids:
        run("DELETE FROM items WHERE id = ?", (number,))


def _forget_vectors(run: Run, ids: Sequence[int]) -> None:
    generation = next_generation(run)
    for number in ids:
        run(
            "INSERT OR REPLACE INTO gone (model, item, generation) SELECT model, item, ? FROM vectors WHERE item = ?",
            (generation, number),
        )
        run("DELETE FROM vectors WHERE item = ?", (number,))


def next_generation(run: Run) -> int:
    """Count the generation up."""
    run("UPDATE state SET generation = generation + 1")
    return run("SELECT generation FROM state").fetchone()[0]


def marks(values: Sequence[Any]) -> str:
    """A question mark for each value."""
    return ",".join("?" * len(values))
