"""Noise that belongs to a picture, not to a batch: one CPU generator for each seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput

Noise = Callable[[Tensor], Tensor]
"""`noise(x)` is standard normal noise of the shape, type and device of x."""


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From a to b (B, ...) on the sphere of each item, at a share in [0, 1] of the way (Shoemake 1985).

    Lengths are interpolated too. It keeps the spread of noise, which a straight line shrinks on its way.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    cosine = F.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1).double()
    angle = cosine.acos()
    near = angle.sin() < 1e-4  # parallel, where the formula divides by zero
    divisor = torch.where(near, torch.ones_like(angle), angle.sin())
    of_a = torch.where(near, torch.full_like(angle, 1 - share), ((1 - share) * angle).sin() / divisor)
    of_b = torch.where(near, torch.full_like(angle, share), (share * angle).sin() / divisor)
    shape = (-1, *[1] * (a.ndim - 1))
    return of_a.to(a).view(shape) * a + of_b.to(b).view(shape) * b


class PictureNoise:
    """A noise source in which picture i draws from its own generator.

    Picture i therefore gets the same noise alone, in a batch, and on any device: numbers are drawn on the CPU in
    float32 and then moved (the idea of EDM2's StackedRandomGenerator). Each call goes on where the last one ended.

    Args:
        seeds: one seed a picture, each from 0 to 2**63 - 1.
        device: where the noise is put; None for the device of x.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str | None = None):
        self.device = device
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, x: Tensor) -> Tensor:
        """Standard normal noise like x, (B, ...), with B the number of seeds.

        Raises:
            BadInput: x has another number of pictures.
        """
        if len(x) != len(self.generators):
            raise BadInput(f"There are {len(self.generators)} seeds for {len(x)} pictures; give each picture one seed.")
        drawn = [torch.randn(x.shape[1:], generator=generator) for generator in self.generators]
        return torch.stack(drawn).to(device=self.device or x.device, dtype=x.dtype)


class WalkNoise:
    """A noise source on the way from one source to another; both are drawn from at each call.

    Args:
        first, second: the sources.
        share: in [0, 1], how far on the way; at 0 and 1 it is one of them, number for number.
    """

    def __init__(self, first: Noise, second: Noise, share: float):
        self.first, self.second, self.share = first, second, share

    def __call__(self, x: Tensor) -> Tensor:
        """Noise like x, (B, ...)."""
        first, second = self.first(x), self.second(x)
        if self.share in (0, 1):
            return second if self.share else first
        return slerp(first, second, self.share)
