"""A store that is a copy of a VectorSource, and looks for what has changed before each search."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.search.seams import VectorSource, VectorStore


class Copy(VectorStore, Protocol):
    """A store that can be a copy of a source."""

    kind: str
    generation: int
    """The source's generation that the store is a copy of; -1: of none."""

    def __len__(self) -> int: ...

    @property
    def stale(self) -> bool:
        """Whether making it anew pays."""
        ...

    def followed(self, generation: int) -> None:
        """Note that the store is as the source was at `generation`."""
        ...

    def rebuild(self, source: VectorSource) -> None:
        """Become a copy of the source from nothing, and note its generation."""
        ...

    def improve(self, source: VectorSource) -> None:
        """Do what makes later searches quicker, however long it takes."""
        ...


class Follower:
    """Searches a copy that is brought up to date first. Threads may share it.

    Args:
        source: the truth.
        copy: its copy, of any age.
    """

    def __init__(self, source: VectorSource, copy: Copy):
        if source.dim != copy.dim:
            raise BadInput(f"The store holds vectors of {copy.dim} numbers, but the index has {source.dim}.")
        self.dim = source.dim
        self.source = source
        self.copy = copy
        self._lock = threading.RLock()
        self._compared = False  # whether the counts were compared since the copy was opened

    def __len__(self) -> int:
        return len(self.copy)

    def prepare(self) -> None:
        """Take over what changed, and make later searches quick: what indexing does at its end. May take minutes."""
        with self._lock:
            self.refresh()
            self.copy.improve(self.source)

    def refresh(self) -> None:
        """Take over what changed in the source."""
        with self._lock:
            generation = self.source.generation()
            if generation == self.copy.generation and self._compared:
                return
            if not 0 <= self.copy.generation <= generation:
                self.copy.rebuild(self.source)
            elif self.copy.generation < generation:
                changes = self.source.changes(self.copy.generation)
                self.copy.delete(changes.gone)
                self.copy.add(changes.ids, changes.vectors)
                self.copy.followed(generation)
            settled = self.source.generation() == generation
            # Another count at the same generation: the copy is of another source that was here before.
            if self.copy.stale or (settled and len(self.copy) != self.source.count()):
                self.copy.rebuild(self.source)
            self._compared = True

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best of each query in the source as it is now."""
        with self._lock:
            self.refresh()
            return self.copy.search(queries, k, allowed)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Refused: vectors come from the source."""
        raise BadInput("This store follows an index; add to the index instead.")

    def delete(self, ids: np.ndarray) -> None:
        """Refused: vectors come from the source."""
        raise BadInput("This store follows an index; delete from the index instead.")

    def snapshot(self, folder: Path) -> None:
        """Write a copy that can be opened again."""
        with self._lock:
            self.refresh()
            self.copy.snapshot(folder)

    def stats(self) -> dict[str, object]:
        """What the copy tells of itself, and the generation it is of."""
        return {**self.copy.stats(), "generation": self.copy.generation}
