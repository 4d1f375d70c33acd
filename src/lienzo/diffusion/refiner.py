"""A residual U-Net that turns a rough drawing into a finished one: grain goes, edges close, the picture grows.

It may be told what the drawing shows, a sentence and a style, by adaptive norms (Perez et al. 2018, arXiv 1709.07871):
then it can draw what the rough drawing only hints at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.nn.loading import fill_exactly


class ConvBlock(nn.Module):
    """Two 3x3 convolutions around group norms with a shortcut; a condition (B, condition) scales and shifts between."""

    def __init__(self, inside: int, outside: int, condition: int = 0):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, 1, 1)
        self.norm2 = nn.GroupNorm(8, outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)
        self.modulate = nn.Linear(condition, 2 * outside) if condition else None
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        hidden = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.modulate is not None:
            scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, 1)
            hidden = hidden * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(hidden))


class Level(nn.ModuleList):
    """Blocks one after another, all under one condition."""

    def __init__(self, inside: int, width: int, depth: int, condition: int):
        super().__init__(ConvBlock(width if i else inside, width, condition) for i in range(depth))

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        for block in self:
            x = block(x, condition)
        return x


class Refiner(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to finished ones, `scale` times as large; S is a multiple of
    2 * 2 ** (len(widths) - 1).

    Args:
        widths: channels at 1/2, 1/4, 1/8 ... of the size.
        depth: blocks a level on each side.
        scale: how much larger the picture becomes.
        condition: width of the condition, 0 for none.
        text_dim: length of the sentence vectors, where there is a condition.
        styles: names of the styles it knows; index `len(styles)` stands for none.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (48, 96, 160),
        depth: int = 1,
        scale: int = 1,
        condition: int = 0,
        text_dim: int = 384,
        styles: Sequence[str] = (),
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "widths": list(widths), "depth": depth, "scale": scale, "condition": condition, "text_dim": text_dim,
            "styles": list(styles),
        }  # fmt: skip
        self.scale, self.condition = scale, condition
        if condition:
            self.text = nn.Sequential(nn.Linear(text_dim, condition), nn.GELU(), nn.Linear(condition, condition))
            self.style = nn.Embedding(len(styles) + 1, condition)
            self.no_text = nn.Parameter(torch.zeros(condition))
        self.enter = nn.Conv2d(12, widths[0], 3, 1, 1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        inside = widths[0]
        for width in widths:
            self.down.append(Level(inside, width, depth, condition))
            inside = width
        for width in reversed(widths):
            self.up.append(Level(inside + width, width, depth, condition))
            inside = width
        self.leave = nn.Conv2d(widths[0], 12 * scale**2, 3, 1, 1)
        nn.init.zeros_(self.leave.weight)

    def forward(
        self, x: Tensor, text: Tensor | None = None, style: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """The finished pictures.

        Args:
            x: (B, 3, S, S) in [-1, 1].
            text: sentence vectors (B, text_dim); None for no sentence.
            style: (B,) style indices; None for no style.
            keep: (B,) bool, false where the sentence is hidden.
        """
        condition = self._condition(len(x), text, style, keep) if self.condition else None
        hidden = self.enter(F.pixel_unshuffle(x, 2))
        skips = []
        for level, blocks in enumerate(self.down):
            hidden = blocks(F.avg_pool2d(hidden, 2) if level else hidden, condition)
            skips.append(hidden)
        for level, blocks in enumerate(self.up):
            skip = skips.pop()
            if level:
                hidden = F.interpolate(hidden, scale_factor=2.0, mode="nearest")
            hidden = blocks(torch.cat([hidden, skip], 1), condition)
        detail = F.pixel_shuffle(self.leave(hidden), 2 * self.scale).float()
        return detail + (x if self.scale == 1 else F.interpolate(x, scale_factor=float(self.scale), mode="bilinear"))

    def _condition(self, count: int, text: Tensor | None, style: Tensor | None, keep: Tensor | None) -> Tensor:
        sentence = self.no_text.expand(count, -1)
        if text is not None:
            told = self.text(text * text.shape[-1] ** 0.5)
            sentence = told if keep is None else torch.where(keep[:, None], told, sentence.to(told.dtype))
        if style is None:
            style = torch.full((count,), self.style.num_embeddings - 1, device=sentence.device)
        return F.silu(sentence + self.style(style))


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a `Refiner`."""
    return {"enter.weight", "down.0.0.conv1.weight", "leave.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Refiner:
    """The network in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = Refiner(**(config or {}))
    return fill_exactly(model, state, "a refiner").eval().requires_grad_(False)
