"""All inner products between two sets of features, once, for every metric that needs them.

KID, precision and coverage look at every pair of pictures: real-real, fake-fake and real-fake. Computing the pairs is
nearly all the work, so `walk` does it once, block by block in bounded memory, and shows each block to all readers.

The common mean is taken off before. Distances do not change, and what is left is small, so that float32, which is
twice as fast on a processor, keeps seven digits of the part that matters; what the mean adds to a product is known
in float64. Few pairs, or a GPU, are done in float64 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

TILE = 512  # rows and columns of a block; a few MB stay in the cache
SMALL = 1 << 36  # multiplications up to which float64 costs a second or two
Which = Literal["real", "fake", "cross"]


@dataclass(frozen=True, eq=False)
class Side:
    """One set around the common mean m: with c = x - m, `rows` is c, `squares` |c|^2, `shift` the product m c."""

    rows: Tensor  # (N, D), the number type of the pass
    squares: Tensor  # (N,) float64
    shift: Tensor  # (N,) float64


@dataclass(frozen=True, eq=False)
class Sides:
    """Both sets, and the square of the mean that was taken off."""

    real: Side
    fake: Side
    mean_square: float

    @property
    def dtype(self) -> torch.dtype:
        return self.real.rows.dtype

    def pair(self, which: Which) -> tuple[Side, Side]:
        """The sets whose rows and columns a block has."""
        return (self.fake if which == "fake" else self.real), (self.real if which == "real" else self.fake)


class Reader(Protocol):
    """Sees each block once: all of `real`, then all of `fake`, then all of `cross`."""

    def read(self, which: Which, rows: slice, cols: slice, products: Tensor) -> None:
        """One block (rows, cols) of the products of centred features; it must not be written to.

        Of the symmetric `real` and `fake` only the squares on the diagonal (``rows == cols``) and what lies above
        them come.
        """


def centre(real: Tensor, fake: Tensor, dtype: torch.dtype | None = None) -> Sides:
    """Both sets around their common mean.

    Args:
        real: (N, D).
        fake: (M, D), same device.
        dtype: float64 or float32; by default as the top of this page says.
    """
    if dtype is None:
        few = (len(real) + len(fake)) ** 2 * real.shape[1] <= SMALL
        largest = max(abs(float(end)) for x in (real, fake) for end in x.aminmax())
        odd = not 1e-9 < largest < 1e5  # third powers of squares still fit float32
        dtype = torch.float64 if few or odd or real.is_cuda else torch.float32
    mean = (real.sum(0, dtype=torch.float64) + fake.sum(0, dtype=torch.float64)) / (len(real) + len(fake))
    return Sides(_side(real, mean, dtype), _side(fake, mean, dtype), float(mean @ mean))


def _side(x: Tensor, mean: Tensor, dtype: torch.dtype) -> Side:
    rows = x.new_empty(x.shape, dtype=dtype)
    squares, shift = (mean.new_empty(len(x)) for _ in range(2))
    step = max(1, TILE * TILE // x.shape[1])
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        centred = x[part].double() - mean
        rows[part] = centred
        squares[part], shift[part] = centred.square().sum(1), centred @ mean
    return Side(rows, squares, shift)


def walk(sides: Sides, readers: Sequence[Reader]) -> None:
    """Show every block of products to every reader."""
    if not readers:
        return
    order: tuple[Which, ...] = ("real", "fake", "cross")
    for which in order:
        a, b = (side.rows for side in sides.pair(which))
        for top in range(0, len(a), TILE):
            rows = slice(top, min(top + TILE, len(a)))
            for left in range(0 if which == "cross" else top, len(b), TILE):
                cols = slice(left, min(left + TILE, len(b)))
                products = a[rows] @ b[cols].T
                for reader in readers:
                    reader.read(which, rows, cols, products)


def squared_distances(sides: Sides, which: Which, rows: slice, cols: slice, products: Tensor) -> Tensor:
    """|x - y|^2 of a block, at least 0, from its products."""
    a, b = sides.pair(which)
    out = torch.add(b.squares[cols].to(products.dtype), products, alpha=-2)
    return out.add_(a.squares[rows, None].to(products.dtype)).clamp_(min=0)
