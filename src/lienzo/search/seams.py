"""What the parts of the index agree on: who embeds, where vectors come from, and who finds the nearest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from lienzo.clip.embedder import Embedder as Embedder


class Changes(NamedTuple):
    """What happened to the vectors after a generation."""

    ids: np.ndarray  # int64 (N,), added or replaced
    vectors: np.ndarray  # float32 (N, D)
    gone: np.ndarray  # int64 (M,)


class VectorSource(Protocol):
    """The truth that a store of vectors is a copy of. Generations count up with every change."""

    dim: int

    def generation(self) -> int:
        """The number of the last change."""
        ...

    def count(self) -> int:
        """Vectors there are now."""
        ...

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids (n,) int64 and vectors (n, D) float32, in parts, by rising id."""
        ...

    def changes(self, since: int) -> Changes:
        """What changed after generation `since`."""
        ...


class VectorStore(Protocol):
    """Finds the vectors nearest to a query by cosine."""

    dim: int

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors (N, D) under ids (N,); an id that is there is replaced."""
        ...

    def delete(self, ids: np.ndarray) -> None:
        """Forget ids (N,); unknown ones are passed over."""
        ...

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best of each query.

        Args:
            queries: float32 (Q, D).
            k: how many.
            allowed: int64 ids, sorted, that may be found; None means all.

        Returns:
            int64 ids (Q, k), -1 where there are fewer, and float32 scores (Q, k), best first.
        """
        ...

    def snapshot(self, folder: Path) -> None:
        """Write a copy that can be opened again."""
        ...

    def stats(self) -> dict[str, object]:
        """Count, bytes, kind, and what else there is to know."""
        ...
