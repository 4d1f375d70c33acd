"""What stores in a database share: how they follow a source, and searching among many ids."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lienzo.core.files import replacing
from lienzo.search.best import ordered
from lienzo.search.exact import write_rows
from lienzo.search.rows import checked_queries
from lienzo.search.seams import VectorSource

LISTED = 5000  # ids that a database is told one by one; more are picked out of longer answers

Ask = Callable[[int], tuple[np.ndarray, np.ndarray]]


class GenerationNote:
    """The generation of the source that a database is a copy of, in a small file; -1 where there is no note.

    Args:
        path: the file; None keeps the note in memory.
        address: of the database. The note of another one does not count.
    """

    def __init__(self, path: Path | None, address: str):
        self.path = path
        self.address = address
        self.generation = -1
        if path is not None and path.is_file():
            try:
                noted = json.loads(path.read_text(encoding="utf-8"))
                self.generation = int(noted["generation"]) if noted["address"] == address else -1
            except (OSError, ValueError, KeyError, TypeError):
                self.generation = -1

    def write(self, generation: int) -> None:
        """Note a generation.

        Raises:
            BadInput: the file cannot be written.
        """
        self.generation = generation
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary:
                text = json.dumps({"address": self.address, "generation": generation})
                temporary.write_text(text, encoding="utf-8")


def among(ask: Ask, k: int, allowed: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best that are allowed, from ever longer answers of a database that cannot be told so many ids.

    Args:
        ask: gives ids and scores of the n best.
        k: how many.
        allowed: int64 ids that may be found.
        count: vectors that the database has.
    """
    limit = max(4 * k, 1000)
    while True:
        ids, scores = ask(min(limit, count))
        keep = np.isin(ids, allowed)
        if keep.sum() >= min(k, len(allowed)) or limit >= count:
            return ordered(ids[keep], scores[keep], k)
        limit *= 4


class DatabaseStore(ABC):
    """A store whose vectors a database keeps; what differs between databases is abstract.

    Args:
        dim: length D of the vectors.
        note: the generation of the source that it is a copy of.
    """

    stale = False  # a database takes changes as they come

    def __init__(self, dim: int, note: GenerationNote):
        self.dim = dim
        self._note = note

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors (N, D) under ids (N,); an id that is there is replaced."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def ask(self, query: np.ndarray, allowed: np.ndarray | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and scores of the best for one query (D,), best first, among at most `LISTED` allowed ids or all."""

    @abstractmethod
    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids (n,) int64 and vectors (n, D) float32, in parts, by rising id."""

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best of each query: ids (Q, k), -1 where there are fewer, and scores (Q, k)."""
        queries = checked_queries(queries, self.dim)
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        if k < 1 or (allowed is not None and len(allowed) == 0):
            return ids, scores
        for i, query in enumerate(queries):
            if allowed is None or len(allowed) <= LISTED:
                found = self.ask(query, allowed, k)
            else:
                found = among(partial(self.ask, query, None), k, allowed, len(self))
            ids[i, : len(found[0])], scores[i, : len(found[0])] = found
        return ids, scores

    def snapshot(self, folder: Path) -> None:
        """Write the vectors to `folder`; `ExactStore` opens it, `read_rows` reads it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder, self.parts(), self.dim, self.generation)

    @property
    def generation(self) -> int:
        """Of the source that this is a copy of."""
        return self._note.generation

    def followed(self, generation: int) -> None:
        """Note that the store is as the source was at `generation`."""
        self._note.write(generation)

    def rebuild(self, source: VectorSource) -> None:
        """Become a copy of the source."""
        generation = source.generation()
        self._note.write(-1)  # of nothing, should this be cut short
        self.clear()
        for ids, vectors in source.parts():
            self.add(ids, vectors)
        self._note.write(generation)
