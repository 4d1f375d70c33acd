"""Vectors as a CLIP gives them, and a source of vectors kept in a dict."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lienzo.search.seams import Changes


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def pictures_and_texts(count: int, dim: int, texts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Picture vectors in overlapping clusters, and text vectors of the same clusters on the other side of a gap."""
    draws = np.random.default_rng(seed)
    spread = np.arange(1, dim + 1) ** -0.4  # of each direction
    centres = draws.standard_normal((max(count // 100, 2), dim)) * spread
    gap = unit(draws.standard_normal(dim)) * np.linalg.norm(spread)
    which = draws.integers(len(centres), size=count)
    asked = draws.integers(len(centres), size=texts)
    pictures = centres[which] + draws.standard_normal((count, dim)) * spread + gap
    return unit(pictures), unit(centres[asked] + draws.standard_normal((texts, dim)) * spread - gap)


def brute(ids: np.ndarray, vectors: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(1)
    return ids[np.lexsort((ids, -scores))[:k]].tolist()


class DictSource:
    """A VectorSource that counts what is asked of it."""

    def __init__(self, dim: int):
        self.dim = dim
        self.vectors: dict[int, np.ndarray] = {}
        self.log: list[int] = []
        self.read_whole = 0

    def put(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        self.vectors.update(zip(np.asarray(ids).tolist(), np.asarray(vectors, np.float32)))
        self.log += np.asarray(ids).tolist()

    def drop(self, ids: list[int]) -> None:
        for identity in ids:
            self.vectors.pop(identity, None)
        self.log += ids

    def generation(self) -> int:
        return len(self.log)

    def count(self) -> int:
        return len(self.vectors)

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self.read_whole += 1
        ids = sorted(self.vectors)
        for start in range(0, len(ids), 100):
            part = ids[start : start + 100]
            yield np.array(part, np.int64), np.stack([self.vectors[i] for i in part])

    def changes(self, since: int) -> Changes:
        touched = sorted(set(self.log[since:]))
        there = [i for i in touched if i in self.vectors]
        gone = [i for i in touched if i not in self.vectors]
        vectors = np.stack([self.vectors[i] for i in there]) if there else np.empty((0, self.dim), np.float32)
        return Changes(np.array(there, np.int64), vectors, np.array(gone, np.int64))
