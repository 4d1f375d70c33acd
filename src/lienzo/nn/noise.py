"""Noise that belongs to a picture, not to a batch: one CPU generator for each seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lienzo.core.errors import BadInput

Noise = Callable[[Tensor], Tensor]
"""`noise(x)` is standard normal noise of the shape, type and device of x."""


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
