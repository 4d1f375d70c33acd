"""Distance of feature maps: what an autoencoder minimises beside the difference of pixels (Zhang et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Features = Callable[[Tensor], Sequence[Tensor]]
"""Pictures (B, 3, H, W) in [-1, 1] to maps (B, C, h, w); differentiable. Their distance is the sum over maps and
channels of the squared difference, averaged over places, so norms and weights are the business of the maps."""


@dataclass(frozen=True)
class Perceptual:
    """Feature maps of a frozen network.

    Attributes:
        name: of the network and its weights; a run that is resumed must have the same.
        features: the maps.
    """

    name: str
    features: Features


def unit_channels(x: Tensor) -> Tensor:
    """(B, C, H, W) in float32 with the channels of each place scaled to length 1."""
    x = x.float()
    return x * x.square().sum(1, keepdim=True).clamp_min(1e-20).rsqrt()


def map_distance(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The mean distance of the pictures of a batch, a scalar; see `Features`."""
    pairs = zip(maps, others, strict=True)
    return torch.stack([(a.float() - b.float()).square().sum(1).mean() for a, b in pairs]).sum()
