"""A U-Net for small pictures that learns fast on CPUs: never at full size, and attentive only at the smallest.

Changes of size are pixel shuffles (Shi et al. 2016, arXiv 1609.05158) and a matrix, so no pixel is lost; time and class
scale and shift the norm of each residual block (Dhariwal and Nichol 2021). It is made to be preconditioned by
`denoiser.EDMDenoiser`: variances stay near 1 at every noise level, which is why it can learn from small batches at a
high rate (Karras et al. 2022, arXiv 2206.00364).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.nn.attention import qkv_attention
from lienzo.nn.loading import fill_exactly

GROUPS = 8
TIME_FEATURES = 64


def noise_features(c_noise: Tensor) -> Tensor:
    """Sines and cosines (B, 64) of log noise levels (B,), at wavelengths from 2 pi down to 1/4."""
    rates = torch.exp(torch.linspace(0, math.log(8 * math.pi), TIME_FEATURES // 2, device=c_noise.device))
    angles = c_noise.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions; the condition scales and shifts between them. Starts as the identity (or its 1x1 matrix)."""

    def __init__(self, channels: int, width: int, condition: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.modulate = nn.Linear(condition, 2 * width)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Conv2d(channels, width, 1) if channels != width else nn.Identity()
        for parameter in (self.modulate.weight, self.modulate.bias, self.conv2.weight, self.conv2.bias):
            nn.init.zeros_(parameter)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Features (B, channels, H, W) and condition (B, condition) to (B, width, H, W)."""
        scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


class AttentionBlock(nn.Module):
    """Residual self-attention over all positions; starts as the identity."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.proj = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        stacked = self.qkv(self.norm(x)).flatten(2)
        return x + self.proj(qkv_attention(stacked, self.heads, heads_first=False).reshape(x.shape))


class Stack(nn.ModuleList):
    """Blocks of one size, in order."""

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for block in self:
            x = block(x, condition)
        return x


class ShuffleUnet(nn.Module):
    """The U-Net: a noisy picture, its noise level and its class in, a picture out.

    Args:
        image_size: side in pixels that it was made for; it takes any multiple of 2 to the number of levels.
        channels: of the picture.
        widths: of the levels, each a multiple of 8; the first works at half the picture's size, the next at a quarter.
        depths: residual blocks of each level (in each half; the last level is passed once).
        head_width: channels of an attention head.
        condition: width of the condition.
        num_classes: number of classes; number `num_classes` stands for none.
        sigma_data: standard deviation of the data, for `EDMDenoiser`.
        classes: names of the classes, kept for the caller.

    Raises:
        BadInput: the numbers do not fit together.
    """

    def __init__(
        self,
        image_size: int = 28,
        channels: int = 1,
        widths: Sequence[int] = (32, 64),
        depths: Sequence[int] = (1, 2),
        head_width: int = 32,
        condition: int = 128,
        num_classes: int = 10,
        sigma_data: float = 0.5,
        classes: Sequence[str] | None = None,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "image_size": image_size, "channels": channels, "widths": list(widths), "depths": list(depths),
            "head_width": head_width, "condition": condition, "num_classes": num_classes, "sigma_data": sigma_data,
            "classes": None if classes is None else list(classes),
        }  # fmt: skip
        if len(widths) != len(depths) or any(width % GROUPS for width in widths) or widths[-1] % head_width:
            raise BadInput(
                f"The widths of a shuffle U-Net must be as many as its depths and multiples of {GROUPS}, "
                f"the last also of its {head_width} channels a head."
            )
        self.num_classes = self.null_class = num_classes
        self.channels, self.multiple = channels, 2 ** len(widths)
        self.time = nn.Sequential(nn.Linear(TIME_FEATURES, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.label = nn.Embedding(num_classes + 1, condition)
        self.enter = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        levels = list(zip(widths[:-1], depths[:-1], strict=True))
        self.down = nn.ModuleList(
            Stack(ResidualBlock(width, width, condition) for _ in range(depth)) for width, depth in levels
        )
        self.up = nn.ModuleList(
            Stack(ResidualBlock(width if i else 2 * width, width, condition) for i in range(depth))
            for width, depth in levels
        )
        self.shrink = nn.ModuleList(nn.Conv2d(4 * wide, width, 1) for wide, width in pairwise(widths))
        self.grow = nn.ModuleList(nn.Conv2d(width, 4 * wide, 1) for wide, width in pairwise(widths))
        last, heads = widths[-1], widths[-1] // head_width
        self.middle = Stack(
            block
            for _ in range(depths[-1])
            for block in (ResidualBlock(last, last, condition), AttentionBlock(last, heads))
        )
        self.leave = nn.Sequential(
            nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 4 * channels, 3, padding=1)
        )

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor) -> Tensor:
        """One evaluation.

        Args:
            x: (B, channels, H, W) of variance 1; H and W are multiples of 2 to the number of levels.
            c_noise: (B,) log noise level / 4.
            y: (B,) labels; `null_class` stands for none.

        Returns:
            (B, channels, H, W).

        Raises:
            BadInput: the channels or the size do not fit.
        """
        height, width = x.shape[2:]
        if x.shape[1] != self.channels or height % self.multiple or width % self.multiple:
            raise BadInput(
                f"This model takes {self.channels} channels and sides that are multiples of {self.multiple}; "
                f"{x.shape[1]} channels of {width}x{height} are not."
            )
        condition = F.silu(self.time(noise_features(c_noise)) + self.label(y))
        h = self.enter(F.pixel_unshuffle(x, 2))
        kept = []
        for stack, shrink in zip(self.down, self.shrink, strict=True):
            h = stack(h, condition)
            kept.append(h)
            h = shrink(F.pixel_unshuffle(h, 2))
        h = self.middle(h, condition)
        for stack, grow, skip in list(zip(self.up, self.grow, kept, strict=True))[::-1]:
            h = stack(torch.cat([F.pixel_shuffle(grow(h), 2), skip], dim=1), condition)
        return F.pixel_shuffle(self.leave(h), 2)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a `ShuffleUnet`."""
    return {"enter.weight", "leave.2.weight", "middle.0.modulate.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> ShuffleUnet:
    """The network in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = ShuffleUnet(**(config or {}))
    return fill_exactly(model, state, "a shuffle U-Net").eval().requires_grad_(False)
