"""Drawings in the palette of paintings, on their ground.

Colours move by the one linear map that gives the drawings' colours as a whole the mean and the covariance of the
paintings' (Pitié and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping"): of all such maps it is the
one that moves colours least, so blue becomes their blue. White ground becomes the mean of the paintings, blurred until
nothing in it can be told. Both are the same for every drawing, so that a network can learn them as one change of style.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GROUND = 0.85  # of full brightness: from here on all three channels are empty paper
_BLUR = 9, 3  # width in pixels at 64 x 64, and times


@dataclass(frozen=True)
class Palette:
    """Colours in [0, 1] are moved as ``(colour - before) @ turn + after``; `ground` is (S, S, 3) in [0, 1]."""

    turn: np.ndarray
    before: np.ndarray
    after: np.ndarray
    ground: np.ndarray


def palette_of(paintings: np.ndarray, drawings: np.ndarray) -> Palette:
    """What makes drawings look like paintings.

    Args:
        paintings: uint8 (N, S, S, 3).
        drawings: uint8 (M, S, S, 3), things on white as those that will be repainted.
    """
    y, x = paintings.astype(np.float32) / 255, drawings.astype(np.float32) / 255
    ink = x[x.min(-1) <= GROUND]
    ink = ink if len(ink) >= 16 else x.reshape(-1, 3)
    paint = y.reshape(-1, 3)
    have, want = (np.cov(colours.T.astype(np.float64)) + 1e-4 * np.eye(3) for colours in (ink, paint))
    root, back = _power(have, 0.5), _power(have, -0.5)
    turn = back @ _power(root @ want @ root, 0.5) @ back
    return Palette(turn.astype(np.float32), ink.mean(0), paint.mean(0), _ground(y))


def repainted(drawings: np.ndarray, palette: Palette) -> np.ndarray:
    """uint8 drawings (B, S, S, 3) in the palette and on its ground."""
    x = drawings.astype(np.float32) / 255
    inked = ((x - palette.before) @ palette.turn + palette.after).clip(0, 1)
    empty = (x.min(-1, keepdims=True) > GROUND).astype(np.float32)
    paper = np.stack([2 * blurred(one, 3) for one in empty]).clip(0, 1)  # to behind the soft edge, which is half white
    return ((inked * (1 - paper) + palette.ground * paper) * 255).round().astype(np.uint8)


def _ground(y: np.ndarray) -> np.ndarray:
    """The mean of the blurred paintings with as much contrast as one of them has."""
    side = _odd(_BLUR[0] * y.shape[1] / 64)
    soft = np.stack([blurred(one, side, _BLUR[1]) for one in y])
    mean = soft.mean(0)
    middle = mean.mean((0, 1))
    contrast = soft.std((1, 2)).mean() / max(float(mean.std((0, 1)).mean()), 1e-3)
    return (middle + min(contrast, 2.0) * (mean - middle)).clip(0, 1)


def blurred(x: np.ndarray, side: int, times: int = 1) -> np.ndarray:
    """Means over squares of an odd `side`, the border repeated: (H, W, C) float."""
    for _ in range(times):
        for axis in (0, 1):
            pad = [(side // 2, side // 2) if i == axis else (0, 0) for i in range(3)]
            sums = np.cumsum(np.pad(x, pad, mode="edge"), axis, dtype=np.float64)
            sums = np.insert(sums, 0, 0, axis)
            ahead, behind = (np.take(sums, range(s, s + x.shape[axis]), axis) for s in (side, 0))
            x = ((ahead - behind) / side).astype(np.float32)
    return x


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-9) ** exponent) @ vectors.T


def _odd(width: float) -> int:
    return max(1, int(width) // 2 * 2 + 1)
