"""Exponential moving average of weights, its memory counted in training items."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """A shadow copy of `model` whose half-life is `half_life` items, ramped so that early weights fade fast."""

    def __init__(self, model: nn.Module, half_life: int):
        self.shadow = copy.deepcopy(model).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, model: nn.Module, images_seen: int, batch: int) -> None:
        """Move the shadow towards `model` after a step of `batch` items; buffers are copied."""
        half_life = min(self.half_life, 0.1 * images_seen + 1)
        keep = 0.5 ** (batch / half_life)
        for shadow, weight in zip(self.shadow.parameters(), model.parameters(), strict=True):
            shadow.lerp_(weight.detach(), 1 - keep)
        for old, new in zip(self.shadow.buffers(), model.buffers(), strict=True):
            old.copy_(new)
