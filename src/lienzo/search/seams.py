"""What the rooms of the index agree on: who embeds, where vectors come from, and who finds the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL.Image import Image


class Embedder(Protocol):
    """A CLIP as the index uses it.

    Attributes:
        tag: names weights and preprocessing; vectors of different tags are never compared.
        dim: length D of the vectors.
        size: side in pixels of the square that the picture tower reads.
    """

    tag: str
    dim: int
    size: int

    def prepare(self, picture: Image) -> np.ndarray:
        """An RGB picture of any size as the tower wants it, uint8 (size, size, 3). Runs in decoding workers."""
        ...

    def pictures(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (B, size, size, 3) to float32 unit vectors (B, D)."""
        ...

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Sentences to float32 unit vectors (N, D). The picture tower is not loaded for it."""
        ...


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
