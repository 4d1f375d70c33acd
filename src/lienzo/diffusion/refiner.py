"""A small residual U-Net that cleans what a linear code leaves behind: grain goes, edges close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.nn.loading import fill_exactly


class ConvBlock(nn.Module):
    """Two 3x3 convolutions around group norms with a shortcut."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, 1, 1)
        self.norm2 = nn.GroupNorm(8, outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(hidden)))


class Refiner(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to cleaner ones; S is a multiple of 2 * 2 ** (len(widths) - 1).

    Args:
        widths: channels at 1/2, 1/4, 1/8 ... of the size.
        depth: blocks a level on each side.
    """

    def __init__(self, *, widths: Sequence[int] = (48, 96, 160), depth: int = 1):
        super().__init__()
        self.config: dict[str, Any] = {"widths": list(widths), "depth": depth}
        self.enter = nn.Conv2d(12, widths[0], 3, 1, 1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        inside = widths[0]
        for width in widths:
            self.down.append(
                nn.Sequential(ConvBlock(inside, width), *(ConvBlock(width, width) for _ in range(depth - 1)))
            )
            inside = width
        for width in reversed(widths):
            self.up.append(
                nn.Sequential(ConvBlock(inside + width, width), *(ConvBlock(width, width) for _ in range(depth - 1)))
            )
            inside = width
        self.leave = nn.Conv2d(widths[0], 12, 3, 1, 1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(F.pixel_unshuffle(x, 2))
        skips = []
        for level, block in enumerate(self.down):
            hidden = block(F.avg_pool2d(hidden, 2) if level else hidden)
            skips.append(hidden)
        for level, block in enumerate(self.up):
            skip = skips.pop()
            if level:
                hidden = F.interpolate(hidden, scale_factor=2.0, mode="nearest")
            hidden = block(torch.cat([hidden, skip], 1))
        return x + F.pixel_shuffle(self.leave(hidden), 2).float()


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a `Refiner`."""
    return {"enter.weight", "down.0.0.conv1.weight", "leave.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Refiner:
    """The network in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = Refiner(**(config or {}))
    return fill_exactly(model, state, "a refiner").eval().requires_grad_(False)
