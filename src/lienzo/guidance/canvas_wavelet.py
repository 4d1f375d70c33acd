"""A canvas of wavelet coefficients."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.canvas import COLOUR_AXES
from lienzo.guidance.draws import Generators, normal


class WaveletCanvas:
    """Orthogonal wavelet coefficients, coarser ones larger, with colours along the axes of natural pictures.

    As on the Fourier canvas one step changes large shapes most, but each coefficient acts in one place only.

    Args:
        batch, height, width: of the pictures.
        levels: how often the picture is halved; as often as leaves 4 pixels a side if 0.
        moments: vanishing moments of the Daubechies wavelet, 1 to 8; 1 is Haar's, which paints in blocks.
        decay: power of 2 by which coefficients grow from one level to the next coarser one.
        start: (1 or B, 3, H, W) in [0, 1], rendered exactly (within [0.005, 0.995]).
        generators: where the first coefficients are drawn, without `start`.
        device: where the parameters lie.
    """

    lr = 0.2

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        *,
        levels: int = 0,
        moments: int = 2,
        decay: float = 1.0,
        start: Tensor | None = None,
        generators: Generators = None,
        device: torch.device | str = "cpu",
    ):
        if not 1 <= moments <= 8:
            raise BadInput(f"A Daubechies wavelet here has 1 to 8 vanishing moments, not {moments}.")
        most = max(int(math.log2(max(min(height, width) / 4, 1))), 1)
        if not 0 <= levels <= 16:
            raise BadInput(f"A wavelet canvas has 1 to 16 levels, or 0 for as many as fit, not {levels}.")
        self.levels = min(levels, most) if levels else most
        self.shape = (height, width)
        step = 2**self.levels
        full = (-(-height // step) * step, -(-width // step) * step)
        self.low = daubechies(moments).to(device)
        amplitude = torch.ones(full)
        for level in range(1, self.levels + 1):
            amplitude[: full[0] >> level, : full[1] >> level] = 2 ** (decay * level)
        # Over its mean square, so that unit coefficients give pixels of unit variance.
        self.amplitude = (amplitude / amplitude.square().mean().sqrt()).to(device)
        if start is None:
            coefficients = 0.2 * normal(generators, batch, 3, *full).to(device)
        else:
            coefficients = self._coefficients(start.to(device).expand(batch, 3, height, width), full)
        self.coefficients = coefficients.requires_grad_()  # (B, 3, H', W'), the coarsest level at the top left

    def render(self) -> Tensor:
        x = self.coefficients * self.amplitude
        for level in reversed(range(self.levels)):
            h, w = x.shape[-2] >> level, x.shape[-1] >> level
            block = merge(merge(x[..., :h, :w], self.low).transpose(2, 3), self.low).transpose(2, 3)
            x = torch.cat([torch.cat([block, x[..., :h, w:]], 3), x[..., h:, :]], 2)
        height, width = self.shape
        return torch.einsum("ca,bahw->bchw", COLOUR_AXES.to(x), x[..., :height, :width]).sigmoid()

    def parameters(self) -> list[Tensor]:
        return [self.coefficients]

    def _coefficients(self, picture: Tensor, full: tuple[int, int]) -> Tensor:
        colours = torch.linalg.inv(COLOUR_AXES).to(picture)
        x = torch.einsum("ac,bchw->bahw", colours, picture.clamp(0.005, 0.995).logit())
        x = F.pad(x, (0, full[1] - x.shape[3], 0, full[0] - x.shape[2]), "replicate")
        for level in range(self.levels):
            h, w = full[0] >> level, full[1] >> level
            x[..., :h, :w] = split(split(x[..., :h, :w], self.low).transpose(2, 3), self.low).transpose(2, 3)
        return x / self.amplitude


def daubechies(moments: int) -> Tensor:
    """The low-pass filter of Daubechies' wavelet with that many vanishing moments: (2 * moments,), of norm 1.

    Built by spectral factorisation (Daubechies 1992, "Ten lectures on wavelets", section 6.1): the roots inside the
    unit circle of the polynomial that makes the filter and its shifts by two orthogonal.
    """
    terms = [math.comb(moments - 1 + k, k) for k in range(moments)]
    inside = []
    for y in np.roots(terms[::-1]):
        pair = np.roots([1, 4 * y - 2, 1])  # y = (2 - z - 1/z) / 4
        inside.append(pair[np.abs(pair).argmin()])
    taps = np.poly([-1.0] * moments + inside).real
    return torch.from_numpy(taps / np.sqrt((taps**2).sum())).float()


def high_pass(low: Tensor) -> Tensor:
    """The mirror filter, orthogonal to `low` (K,) and its shifts by two."""
    return low.flip(0) * torch.tensor([1.0, -1.0]).to(low).repeat(len(low) // 2)


def split(x: Tensor, low: Tensor) -> Tensor:
    """One level of the transform along the last axis, whose ends are joined: (..., 2n) to coarse n, then detail n."""
    size = x.shape[-1]
    at = (2 * torch.arange(size // 2)[:, None] + torch.arange(len(low))) % size  # (n, K)
    windows = x[..., at.to(x.device)]
    return torch.cat([windows @ low, windows @ high_pass(low)], -1)


def merge(x: Tensor, low: Tensor) -> Tensor:
    """The inverse of `split`, which is its transpose."""
    size, taps = x.shape[-1], len(low)
    halves = x.reshape(-1, size).unflatten(1, (2, size // 2))  # (N, 2, n)
    filters = torch.stack([low, high_pass(low)])[:, None]  # (2, 1, K)
    line = F.conv_transpose1d(halves, filters, stride=2)  # (N, 1, size + K - 2)
    rings = -(-(size + taps - 2) // size)
    line = F.pad(line, (0, rings * size - line.shape[-1])).view(-1, rings, size).sum(1)
    return line.view(x.shape)
