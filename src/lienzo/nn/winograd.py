"""3x3 convolutions with a quarter to a half of the products, for networks that run many times without a gradient.

Winograd's minimal filtering (Lavin and Gray 2016, arXiv 1509.09308): tiles of the input and the filters are seen as
polynomials, evaluated at a few points; there the convolution is a product for each point, over channels a product of
matrices, and the results are interpolated. The points are chosen for their rounding error in float32, as in Barabasz
et al. 2020 (arXiv 1803.10986).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(2, 3), Fraction(-2, 3), Fraction(3, 2), Fraction(-3, 2)),
}
"""Points besides infinity for output tiles of 2 and of 4 positions; 0, 1, -1, 2, -2 would round 2.3 times as badly."""
TAPS = 3
STRIP = 2**22
"""Numbers of transformed input that are worked on at a time: 16 MB, whatever the size of the picture."""


def filtering_matrices(tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """The transforms of F(tile, 3) for signals of one dimension, in float64; n is `tile + 2`.

    Returns:
        `(inward, filters, outward)` of shapes (n, n), (n, 3), (tile, n): for a signal d of n numbers and a filter g,
        `outward @ ((filters @ g) * (inward @ d))` are the `tile` numbers of their correlation.
    """
    points = POINTS[tile]
    scales = [prod((p - q for q in points if q != p), start=Fraction(1)) for p in points]
    filters = [[p**k / scale for k in range(TAPS)] for p, scale in zip(points, scales, strict=True)]
    outward = [[p**k for k in range(tile)] for p in points]
    inward = [[*_polynomial([q for q in points if q != p]), Fraction(0)] for p in points]
    # the point at infinity: the highest coefficients
    filters.append([Fraction(0)] * (TAPS - 1) + [Fraction(1)])
    outward.append([Fraction(0)] * (tile - 1) + [Fraction(1)])
    inward.append(_polynomial(points))
    return _tensor(inward), _tensor(filters), _tensor(outward).T


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, the lowest first, of the monic polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _tensor(rows: Sequence[Sequence[Fraction]]) -> Tensor:
    return torch.tensor([[float(number) for number in row] for row in rows], dtype=torch.float64)


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 that keeps the size, on the CPU in float32; its result has channels last in memory.

    Its weights take 16 / 9 (tiles of 2) or 4 (tiles of 4) times the memory; they are packed, and no parameters. Where a
    gradient is asked for they are unpacked.

    Args:
        layer: the convolution.
        tile: positions, along each side, of the output that are computed together: 2 or 4.
    """

    def __init__(self, layer: nn.Conv2d, tile: int = 4):
        super().__init__()
        self.tile = tile
        inward, filters, outward = filtering_matrices(tile)
        self.inward = torch.kron(inward, inward).float()  # (n n, n n)
        self.outward = torch.kron(outward, outward).float()  # (tile tile, n n)
        weight = layer.weight.detach().double()  # (D, C, 3, 3)
        points = torch.einsum("ia,jb,dcab->ijdc", filters, filters, weight).float().flatten(0, 1)  # (n n, D, C)
        self.weights = [torch.ops.mkldnn._reorder_linear_weight(each.contiguous(), None) for each in points]
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.out_channels = layer.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H, W)."""
        tile, (_, channels, height, width) = self.tile, x.shape
        down, right = -height % tile, -width % tile
        rows = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1 + right, 1, 1 + down))  # (B, H' + 2, W' + 2, C)
        strip = max(1, STRIP // (len(x) * (width + right) // tile * channels * len(self.inward)))
        made = [
            self._strip(rows[:, top * tile : (top + strip) * tile + 2])
            for top in range(0, (height + down) // tile, strip)
        ]
        y = made[0] if len(made) == 1 else torch.cat(made, 1)  # (B, H', W', D)
        return y[:, :height, :width].permute(0, 3, 1, 2)

    def _strip(self, rows: Tensor) -> Tensor:
        """(B, tile h + 2, tile w + 2, C) to (B, tile h, tile w, D)."""
        tile, side, batch, channels = self.tile, self.tile + 2, len(rows), rows.shape[3]
        tiles = rows.unfold(1, side, tile).unfold(2, side, tile)  # (B, h, w, C, n, n)
        down, across = tiles.shape[1:3]
        points = self.inward @ tiles.permute(4, 5, 0, 1, 2, 3).reshape(side * side, -1)
        points = self._multiplied(points.view(side * side, -1, channels))  # (n n, B h w, D)
        y = (self.outward @ points.flatten(1)).view(tile, tile, batch, down, across, self.out_channels)
        y = y.permute(2, 3, 0, 4, 1, 5).reshape(batch, down * tile, across * tile, self.out_channels)
        return y if self.bias is None else y.add_(self.bias)

    def _multiplied(self, points: Tensor) -> Tensor:
        """(n n, T, C) to (n n, T, D), each by its own matrix."""
        if torch.is_grad_enabled() and points.requires_grad:
            return torch.bmm(points, torch.stack([weight.to_dense() for weight in self.weights]).transpose(1, 2))
        made = points.new_empty(*points.shape[:2], self.out_channels)
        for out, each, weight in zip(made, points, self.weights, strict=True):
            out.copy_(torch.ops.mkldnn._linear_pointwise(each, weight, None, "none", [], ""))
        return made
