"""Exponential moving averages of weights, their memory counted in training items."""

from __future__ import annotations

import copy
from collections.abc import Sequence

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
        share = 1 - 0.5 ** (batch / half_life)
        shadows, weights = ([p.detach() for p in net.parameters()] for net in (self.shadow, model))
        torch._foreach_lerp_(shadows, weights, share)
        for old, new in zip(self.shadow.buffers(), model.buffers(), strict=True):
            old.copy_(new)


def averages(model: nn.Module, half_lives: Sequence[int]) -> list[Ema]:
    """One average for each half-life; the first is the one that is used."""
    return [Ema(model, half_life) for half_life in half_lives]
