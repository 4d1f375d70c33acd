"""Principal components, and how near two subspaces are.

A linear autoencoder trained on squared errors spans the principal components of its data (Bourlard and Kamp 1988,
Baldi and Hornik 1989), though its own axes inside that subspace are arbitrary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Components(NamedTuple):
    """mean (D,); axes (K, D), orthonormal, in falling order of the variances (K,) along them."""

    mean: Tensor
    axes: Tensor
    variances: Tensor

    def coordinates(self, x: Tensor) -> Tensor:
        """Points (N, D) along the axes: (N, K)."""
        return (x - self.mean) @ self.axes.T


def components(x: Tensor, count: int) -> Components:
    """The first `count` principal components of points (N, D), in float64."""
    x = x.flatten(1).double()
    mean = x.mean(0)
    _, singular, axes = torch.linalg.svd(x - mean, full_matrices=False)
    return Components(mean, axes[:count], singular[:count].square() / max(len(x) - 1, 1))


def subspace_angles(a: Tensor, b: Tensor) -> Tensor:
    """The principal angles between the spans of the rows of a (K, D) and b (K, D), in radians, rising: (K,).

    Of small angles the sine is measured, for near 1 a cosine cannot be told from 1 (Bjorck and Golub 1973).
    """
    first, second = (torch.linalg.qr(rows.double().T)[0] for rows in (a, b))  # (D, K)
    product = first.T @ second
    cosines = torch.linalg.svdvals(product)
    sines = torch.linalg.svdvals(second - first @ product).flip(0)
    return torch.where(cosines > 0.7, sines.clamp(max=1).asin(), cosines.clamp(max=1).acos())
