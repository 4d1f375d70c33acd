"""Sums of a kernel over weighted pairs of pictures, for many weightings in one look at all pairs.

A subset of KID, a bootstrap draw and the whole set are each a column of weights w, and sum_ij w_i w_j k(x_i, x_j) of
all columns is one matrix product a block. Each kernel is split into a part known in float64 without the pairs and a
small rest from the products of centred features, so that float32 products cost no digit that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Literal, Protocol

import torch
from torch import Tensor

from lienzo.metrics.products import Side, Sides, Which, squared_distances

Set = Literal["real", "fake"]


class Kernel(Protocol):
    """A kernel as base + rest."""

    def rest(self, sides: Sides, which: Which, rows: slice, cols: slice, products: Tensor) -> Tensor:
        """The rest for one block, a new tensor of its shape."""

    def base(self, sides: Sides, which: Which, a: Tensor, b: Tensor) -> Tensor:
        """The base summed over all pairs of the sets of `which`, weighted by a (N, K) and b (M, K): (K,) float64."""

    def base_diagonal(self, sides: Sides, side: Side) -> Tensor:
        """The base of each picture with itself, (N,) float64."""

    def diagonal(self, sides: Sides, side: Side) -> Tensor:
        """The kernel of each picture with itself, (N,) float64."""


@dataclass(frozen=True)
class Polynomial:
    """(gamma x.y + coef0)^degree: base u^degree with u the part that centring leaves out, u = u_i + u_j."""

    degree: int
    gamma: float
    coef0: float

    def rest(self, sides: Sides, which: Which, rows: slice, cols: slice, products: Tensor) -> Tensor:
        """(u + h)^p - u^p = h sum_q (u + h)^q u^(p-1-q), h the product of centred features."""
        a, b = (self._half(sides, side).to(products.dtype) for side in sides.pair(which))
        h = products * self.gamma
        if self.degree == 1:
            return h
        u = a[rows, None] + b[cols]
        whole, power = u + h, u
        total = whole + u
        for _ in range(self.degree - 2):
            power = power * u
            total = torch.addcmul(power, total, whole)
        return total.mul_(h)

    def base(self, sides: Sides, which: Which, a: Tensor, b: Tensor) -> Tensor:
        left, right = (self._half(sides, side)[:, None] for side in sides.pair(which))
        p = self.degree
        terms = [comb(p, q) * (left ** (p - q) * a).sum(0) * (right**q * b).sum(0) for q in range(p + 1)]
        return torch.stack(terms).sum(0)

    def base_diagonal(self, sides: Sides, side: Side) -> Tensor:
        return (2 * self._half(sides, side)) ** self.degree

    def diagonal(self, sides: Sides, side: Side) -> Tensor:
        return (2 * self._half(sides, side) + self.gamma * side.squares) ** self.degree

    def _half(self, sides: Sides, side: Side) -> Tensor:
        return self.gamma * (sides.mean_square / 2 + side.shift) + self.coef0 / 2


@dataclass(frozen=True)
class Gaussian:
    """exp(-|x - y|^2 / (2 sigma^2)): base 1."""

    sigma: float

    def rest(self, sides: Sides, which: Which, rows: slice, cols: slice, products: Tensor) -> Tensor:
        return squared_distances(sides, which, rows, cols, products).mul_(-0.5 / self.sigma**2).expm1_()

    def base(self, sides: Sides, which: Which, a: Tensor, b: Tensor) -> Tensor:
        return a.sum(0) * b.sum(0)

    def base_diagonal(self, sides: Sides, side: Side) -> Tensor:
        return torch.ones_like(side.squares)

    def diagonal(self, sides: Sides, side: Side) -> Tensor:
        return torch.ones_like(side.squares)


class KernelSums:
    """Reader that sums a kernel over all pairs, for each column of weights.

    Args:
        kernel: The kernel.
        sides: The centred sets.
        weights: (N, K) of the real and (M, K) of the fake set, non-negative.

    Attributes:
        totals: For ``real``, ``fake`` and ``cross``: sum_ij w_i w_j k_ij, (K,) float64, without i = j inside a set.
        selves: For ``real`` and ``fake``: sum_i w_i^2 k_ii, (K,) float64.
    """

    def __init__(self, kernel: Kernel, sides: Sides, weights: Mapping[Set, Tensor]):
        self.kernel, self.sides = kernel, sides
        exact = {name: weight.to(sides.real.squares) for name, weight in weights.items()}
        self.weights = {name: weight.to(sides.dtype) for name, weight in exact.items()}
        self.totals = {"cross": kernel.base(sides, "cross", exact["real"], exact["fake"])}
        self.selves = {}
        names: tuple[Set, Set] = ("real", "fake")
        for name in names:
            w, side = exact[name], sides.pair(name)[0]
            diagonal = kernel.base_diagonal(sides, side) @ w.square()
            self.totals[name] = kernel.base(sides, name, w, w) - diagonal
            self.selves[name] = kernel.diagonal(sides, side) @ w.square()

    def read(self, which: Which, rows: slice, cols: slice, products: Tensor) -> None:
        rest = self.kernel.rest(self.sides, which, rows, cols, products)
        a = self.weights["fake" if which == "fake" else "real"][rows]
        b = self.weights["real" if which == "real" else "fake"][cols]
        twice = which != "cross" and rows != cols  # a block above the diagonal stands for its mirror image too
        if which != "cross" and rows == cols:
            rest.fill_diagonal_(0)
        self.totals[which] += (a * (rest @ b)).sum(0, dtype=torch.float64) * (2 if twice else 1)
