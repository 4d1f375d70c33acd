"""The nearest pictures inside a set, and who lies within a ball, safe against rounding.

Distances come from products in the number type of the pass. A comparison that its rounding could turn is made again
from the features themselves, in float64 by differences, so that equal distances are exactly equal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.metrics.products import Sides

_SPARE = 3  # neighbours kept beyond the last, so that near ties are settled among them
_ROUNDING = 32  # units in the last place of the largest square that a distance may be off by
_MOST = 1 << 17  # comparisons of a block that are made again; more come only from degenerate sets
_CHUNK = 1 << 22  # numbers at a time


class Neighbours:
    """The `k` nearest others of each picture of a set, found block by block.

    Args:
        x: (N, D) features, N above k.
        k: The farthest neighbour that will be asked for.
        sides: The centred sets that `x` is one of.
    """

    def __init__(self, x: Tensor, k: int, sides: Sides):
        self.x, self.kept = x, min(k + _SPARE, len(x) - 1)
        self.nearest = sides.real.rows.new_full((len(x), self.kept), torch.inf)
        self.index = torch.zeros(len(x), self.kept, dtype=torch.long, device=x.device)
        largest = float(torch.maximum(sides.real.squares.max(), sides.fake.squares.max()))
        self.tolerance = _ROUNDING * torch.finfo(sides.dtype).eps * 2 * largest

    def read(self, rows: slice, cols: slice, distances: Tensor) -> None:
        """Take in one block of squared distances of the set with itself, on its diagonal or above."""
        if rows == cols:
            distances.fill_diagonal_(torch.inf)
        else:
            self._merge(cols, distances, rows.start, 0)
        self._merge(rows, distances, cols.start, 1)

    def _merge(self, who: slice, distances: Tensor, first: int, dim: int) -> None:
        few = min(self.kept, distances.shape[dim])
        near, index = distances.topk(few, dim=dim, largest=False, sorted=False)
        if dim == 0:
            near, index = near.T, index.T
        near, index = torch.cat([self.nearest[who], near], 1), torch.cat([self.index[who], index + first], 1)
        self.nearest[who], order = near.topk(self.kept, dim=1, largest=False)
        self.index[who] = index.gather(1, order)

    def radii(self, k: int) -> Tensor:
        """Squared distance to the k-th nearest, (N,)."""
        return self.nearest[:, k - 1]

    def exact_radii(self, k: int, who: Tensor) -> Tensor:
        """The same for the pictures `who`, in float64 from the features."""
        others = self.index[who]
        found = exact_distances(self.x, self.x, who[:, None].expand_as(others).reshape(-1), others.reshape(-1))
        return found.view(others.shape).sort(1).values[:, k - 1]


def settle(beyond: Tensor, balls: Neighbours, points: Neighbours, k: int, rows: slice, cols: slice) -> Tensor:
    """Squared distance minus squared radius of a block (balls, points), its sign made sure where rounding reaches."""
    if float(beyond.abs().amin()) > balls.tolerance:
        return beyond
    ball, point = (beyond.abs() <= balls.tolerance).nonzero(as_tuple=True)
    if len(ball) > _MOST:
        return beyond
    who, inverse = (ball + rows.start).unique(return_inverse=True)
    radii = balls.exact_radii(k, who)[inverse]
    exact = exact_distances(balls.x, points.x, ball + rows.start, point + cols.start) - radii
    beyond[ball, point] = exact.to(beyond.dtype)
    return beyond


def exact_distances(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """|x_i - y_j|^2 of each pair of rows, (P,) float64."""
    step = max(1, _CHUNK // x.shape[1])
    parts = zip(i.split(step), j.split(step))
    return torch.cat([(x[a].double() - y[b].double()).square().sum(1) for a, b in parts])
