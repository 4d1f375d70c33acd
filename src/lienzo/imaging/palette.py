"""A drawing in the colours of a painting, on the painting's ground.

The colours are moved as a whole (Pitié et al. 2007, "Automated colour grading using colour distribution transfer":
along one direction after another their distribution becomes the painting's), but the shift is smoothed over the
picture, so that lines stay lines. White ground becomes the painting, blurred until nothing in it can be told.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROUNDS = 8  # each matches three directions
GROUND = 0.85  # of full brightness: from here on all three channels are empty paper
_BLUR = 9, 3  # width in pixels at 64 x 64, and times


def in_colours_of(drawing: np.ndarray, painting: np.ndarray, seed: int = 0) -> np.ndarray:
    """The drawing repainted.

    Args:
        drawing: uint8 (S, S, 3), a thing on white.
        painting: uint8 (S, S, 3).
        seed: of the directions.
    """
    x, y = drawing.astype(np.float32) / 255, painting.astype(np.float32) / 255
    empty = x.min(-1) > GROUND
    moved = x.copy()
    if not empty.all():
        moved[~empty] = _transferred(x[~empty], y.reshape(-1, 3), ROUNDS, seed)
    side = _odd(5 * len(x) / 64)
    inside = blurred((~empty[..., None]).astype(np.float32), side, 2)
    inked = x + blurred(moved - x, side, 2) / inside.clip(0.05)  # the mean over the thing alone
    paper = (2 * blurred(empty[..., None].astype(np.float32), 3)).clip(
        0, 1
    )  # to behind the soft edge, which is half white
    ground = blurred(y, _odd(_BLUR[0] * len(x) / 64), _BLUR[1])
    return ((inked.clip(0, 1) * (1 - paper) + ground * paper) * 255).round().astype(np.uint8)


def closest_in_colour(drawing: np.ndarray, paintings: Sequence[np.ndarray]) -> int:
    """The painting into whose colours those of the thing drawn have the shortest way."""
    flat = drawing.reshape(-1, 3).astype(np.float32) / 255
    ink = flat[flat.min(-1) <= GROUND]
    ink = ink if len(ink) >= 16 else flat
    ink = ink[np.linspace(0, len(ink) - 1, min(len(ink), 512)).astype(int)]
    ways = []
    for painting in paintings:
        other = painting.reshape(-1, 3).astype(np.float32) / 255
        other = other[np.linspace(0, len(other) - 1, len(ink)).astype(int)]
        ways.append(float(((_transferred(ink, other, 3, 0) - ink) ** 2).mean()))
    return int(np.argmin(ways))


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


def _transferred(x: np.ndarray, y: np.ndarray, rounds: int, seed: int) -> np.ndarray:
    """Colours x (N, 3) moved until they are distributed as y (M, 3)."""
    rng = np.random.default_rng(seed)
    x = x.copy()
    places = (np.arange(len(x)) + 0.5) / len(x)
    for _ in range(rounds):
        for direction in np.linalg.qr(rng.standard_normal((3, 3)))[0].T.astype(np.float32):
            along = x @ direction
            order = along.argsort(kind="stable")
            target = np.sort(y @ direction)
            wanted = np.interp(places, (np.arange(len(target)) + 0.5) / len(target), target)
            x[order] += (wanted - along[order])[:, None].astype(np.float32) * direction
    return x


def _odd(width: float) -> int:
    return max(1, int(width) // 2 * 2 + 1)
