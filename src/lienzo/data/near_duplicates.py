"""Pictures that are nearly the same, found without opening them twice: a hash of edges and a thumbnail in colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

HASH_SIDE = 16
THUMB_SIDE = 16
BLOCK = 1024


def cosine_basis(count: int, size: int) -> np.ndarray:
    """The first `count` rows of the orthonormal DCT-II of length `size`: (count, size)."""
    k, n = np.arange(count)[:, None], np.arange(size)[None]
    basis = np.cos(np.pi * (n + 0.5) * k / size) * np.sqrt(2.0 / size)
    basis[0] /= np.sqrt(2.0)
    return basis.astype(np.float32)


def signatures(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two descriptions of pictures (N, S, S, 3) uint8, S a multiple of 16.

    Returns:
        The low frequencies of the brightness without its mean, (N, 255), and the ink (255 minus a 16 x 16 colour
        thumbnail), (N, 768); both scaled to length 1, so that a product is a cosine.
    """
    luma = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # (N, S, S)
    basis = cosine_basis(HASH_SIDE, luma.shape[1])
    waves = np.einsum("ky,nyx,lx->nkl", basis, luma, basis, optimize=True).reshape(len(luma), -1)[:, 1:]
    step = images.shape[1] // THUMB_SIDE
    thumbs = images.reshape(len(images), THUMB_SIDE, step, THUMB_SIDE, step, 3).mean((2, 4), dtype=np.float32)
    ink = (255.0 - thumbs).reshape(len(images), -1)
    return _unit(waves), _unit(ink)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def near_pairs(
    waves: np.ndarray, ink: np.ndarray, min_waves: float = 0.97, min_ink: float = 0.97
) -> Iterator[tuple[int, int]]:
    """Index pairs i < j whose two cosines both reach their thresholds."""
    for start in range(0, len(waves), BLOCK):
        rows = slice(start, start + BLOCK)
        close = waves[rows] @ waves[start:].T >= min_waves
        first, second = np.nonzero(close)
        keep = second > first
        for i, j in zip(first[keep] + start, second[keep] + start, strict=True):
            if float(ink[i] @ ink[j]) >= min_ink:
                yield int(i), int(j)


def alike_concepts(
    images: np.ndarray, concepts: Sequence[str], min_waves: float = 0.97, min_ink: float = 0.97
) -> list[tuple[str, str]]:
    """Pairs of different concepts that have nearly the same picture, sorted and without repeats."""
    waves, ink = signatures(images)
    pairs = near_pairs(waves, ink, min_waves, min_ink)
    return sorted({(*sorted((concepts[i], concepts[j])),) for i, j in pairs if concepts[i] != concepts[j]})  # type: ignore[misc]
