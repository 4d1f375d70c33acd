"""Exact search: the product of the query with every vector, over a file that is mapped into memory. numpy alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.search.best import Segment, best
from lienzo.search.checked_file import Arrays, read_arrays, write_arrays
from lienzo.search.rows import Rows, checked, checked_queries
from lienzo.search.seams import VectorSource

FILE = "vectors.rows"
DRIFT = 0.2  # share of the base that may change before it is made anew
FEW, MANY = 1000, 50_000  # changes that never, and that always, make it anew


class ExactStore:
    """Finds exactly the nearest; 100,000 vectors of 512 numbers take some 20 ms a query, a million 200 ms.

    Vectors are kept in float32: products with half precision take four times as long on processors without
    half-precision arithmetic, and lose the order of close neighbours.

    Args:
        dim: length D of the vectors.
        folder: where `snapshot` or `rebuild` has left a file, or will leave one. Without it, or where it cannot be
            written, everything stays in memory. A broken file counts as none.
    """

    kind = "exact"

    def __init__(self, dim: int, folder: Path | None = None):
        self.dim = dim
        self.folder = folder
        self.generation = -1
        self.stamp = secrets.token_hex(8)
        self.rows = Rows(dim)
        if folder is not None:
            self._load(read_arrays(folder / FILE))

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors (N, D) under ids (N,); an id that is there is replaced."""
        self.rows.add(ids, vectors)

    def delete(self, ids: np.ndarray) -> None:
        """Forget ids (N,); unknown ones are passed over."""
        self.rows.delete(ids)

    def clear(self) -> None:
        """Forget everything."""
        self.rows, self.generation, self.stamp = Rows(self.dim), -1, secrets.token_hex(8)

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best of each query: ids (Q, k), -1 where there are fewer, and scores (Q, k)."""
        return best(checked_queries(queries, self.dim), k, self.segments(allowed))

    def segments(self, allowed: np.ndarray | None = None) -> list[Segment]:
        """What a search looks through."""
        rows = self.rows
        tail_ids, tail = rows.tail
        if allowed is not None:
            allowed = np.asarray(allowed, np.int64)
            base, late = rows.base_rows(allowed), rows.tail_rows(allowed)
            return [Segment(rows.base_ids, rows.base, base), Segment(tail_ids, tail, late)]
        alive = np.flatnonzero(rows.alive) if rows.dead else None
        return [Segment(rows.base_ids, rows.base, alive), Segment(tail_ids, tail)]

    def snapshot(self, folder: Path) -> None:
        """Write everything to `folder`; `ExactStore(dim, folder)` opens it again."""
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder, self.rows.parts(), self.dim, self.generation)

    def stats(self) -> dict[str, object]:
        """Kind, count, and bytes of the vectors."""
        size = self.rows.base.nbytes + self.rows.tail[1].nbytes
        return {"kind": self.kind, "count": len(self), "bytes": size, "changed": self.rows.changed}

    def fold(self) -> None:
        """Make one base, in memory, of everything there is."""
        parts = list(self.rows.parts())
        ids = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
        vectors = np.concatenate([np.empty((0, self.dim), np.float32), *(part[1] for part in parts)])
        self.rows, self.stamp = Rows(self.dim, ids, vectors), secrets.token_hex(8)

    # What a follower of a source needs.

    @property
    def stale(self) -> bool:
        """Whether so much has changed that making the base anew pays."""
        return self.rows.changed > min(max(DRIFT * len(self.rows.base), FEW), MANY)

    def followed(self, generation: int) -> None:
        """Note that the store is as the source was at `generation`."""
        self.generation = generation

    def rebuild(self, source: VectorSource) -> None:
        """Become a copy of the source, in the folder if it can be written, else in memory."""
        generation = source.generation()  # before reading: what changes meanwhile is asked for again
        if self.folder is not None:
            with suppress(BadInput, OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_rows(self.folder, source.parts(), self.dim, generation)
                if self._load(read_arrays(self.folder / FILE)):
                    return
        parts = [checked(ids, vectors, self.dim) for ids, vectors in source.parts()]
        ids = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
        vectors = np.concatenate([np.empty((0, self.dim), np.float32), *(part[1] for part in parts)])
        self.rows, self.generation, self.stamp = Rows(self.dim, ids, vectors), generation, secrets.token_hex(8)

    def improve(self, source: VectorSource) -> None:
        """Bring the file up to date, so that the next one who opens it has nothing to take over."""
        if self.rows.changed:
            self.rebuild(source)

    def _load(self, kept: Arrays | None) -> bool:
        if kept is None or kept.facts.get("dim") != self.dim:
            return False
        try:
            self.rows = Rows(self.dim, kept.arrays["ids"], kept.arrays["vectors"])
            self.generation, self.stamp = int(kept.facts["generation"]), str(kept.facts["stamp"])
        except (KeyError, ValueError, TypeError):
            return False
        return True


def write_rows(folder: Path, parts: Iterable[tuple[np.ndarray, np.ndarray]], dim: int, generation: int) -> None:
    """Write ids and vectors, given in parts by rising id, as the file that `ExactStore` maps.

    Raises:
        BadInput: it cannot be written, or a part is not of `dim` numbers a vector.
    """

    def stream() -> Iterator[tuple[str, np.ndarray]]:
        every = [np.empty(0, np.int64)]
        yield "vectors", np.empty((0, dim), np.float32)
        for given_ids, given in parts:
            ids, vectors = checked(given_ids, given, dim)
            every.append(ids)
            yield "vectors", vectors
        yield "ids", np.concatenate(every)

    write_arrays(folder / FILE, stream(), {"dim": dim, "generation": generation, "stamp": secrets.token_hex(8)})


def read_rows(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and vectors, in parts, of what any store's `snapshot` has written to `folder`.

    Raises:
        BadInput: there is no whole snapshot.
    """
    kept = read_arrays(folder / FILE)
    if kept is None or "ids" not in kept.arrays or "vectors" not in kept.arrays:
        raise BadInput(f"There is no whole copy of vectors in '{folder.name}'.")
    yield from Rows(kept.arrays["vectors"].shape[1], kept.arrays["ids"], kept.arrays["vectors"]).parts()
