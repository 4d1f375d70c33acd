"""Losses on the picture itself. Each takes (B, 3, H, W) in [-1, 1] and gives one number a picture, (B,)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from lienzo.core.tables import Names

Loss = Callable[[Tensor], Tensor]

LOSSES = Names(
    "guidance loss",
    {
        "tv": "lienzo.guidance.losses:tv",
        "range": "lienzo.guidance.losses:out_of_range",
        "saturation": "lienzo.guidance.losses:saturation",
        "symmetry_horizontal": "lienzo.guidance.losses:symmetry_horizontal",
        "symmetry_vertical": "lienzo.guidance.losses:symmetry_vertical",
    },
)


def tv(x: Tensor) -> Tensor:
    """Total variation: mean squared difference to the right and the lower neighbour. Smooths."""
    padded = F.pad(x, (0, 1, 0, 1), "replicate")
    right = padded[..., :-1, 1:] - padded[..., :-1, :-1]
    down = padded[..., 1:, :-1] - padded[..., :-1, :-1]
    return (right.square() + down.square()).mean((1, 2, 3))


def out_of_range(x: Tensor) -> Tensor:
    """Mean squared excess over [-1, 1]."""
    return (x - x.clamp(-1, 1)).square().mean((1, 2, 3))


def saturation(x: Tensor) -> Tensor:
    """Mean excess over [-1, 1]: as `out_of_range`, but it pulls small excesses in just as hard."""
    return (x - x.clamp(-1, 1)).abs().mean((1, 2, 3))


def symmetry_horizontal(x: Tensor) -> Tensor:
    """Mean squared difference between the picture and its left-right mirror image."""
    return (x - x.flip(-1)).square().mean((1, 2, 3))


def symmetry_vertical(x: Tensor) -> Tensor:
    """Mean squared difference between the picture and its upside-down mirror image."""
    return (x - x.flip(-2)).square().mean((1, 2, 3))


def init_loss(
    init: Tensor,
    *,
    features: Callable[[Tensor], Tensor | Sequence[Tensor]] | None = None,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Loss:
    """A loss that keeps a picture near `init`.

    Args:
        init: (1 or B, 3, H, W) in [-1, 1].
        features: a network whose outputs (one tensor or several, each with the batch first) are compared by
            their mean squared difference in place of the pixels.
        distance: an LPIPS-shaped function of (x, init) that gives one number a picture, in (B,) or (B, 1, 1, 1).
    """
    if features is not None and distance is not None:
        raise ValueError("init_loss takes features or a distance, not both")

    def to_init(x: Tensor) -> Tensor:
        target = init.to(x).expand_as(x)
        if distance is not None:
            return distance(x, target).reshape(len(x), -1).mean(1)
        if features is None:
            return (x - target).square().mean((1, 2, 3))
        mine, theirs = _several(features(x)), _several(features(target))
        losses = [(a - b.detach()).square().flatten(1).mean(1) for a, b in zip(mine, theirs)]
        return sum(losses[1:], losses[0])

    return to_init


def _several(features: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [features] if isinstance(features, Tensor) else features
