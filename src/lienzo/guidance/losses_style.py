"""A loss that takes over the style of a picture: its colours and textures, not what is where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lienzo.guidance.losses import Loss
from lienzo.guidance.losses_chosen import ChosenLoss, Features, Surroundings


class StyleLoss(ChosenLoss):
    """Brings the style of a picture: by optimal transport of features (STROTSS, Kolkin et al. 2019), or by their Gram
    matrices (Gatys et al. 2016)."""

    strength: ClassVar[float] = 1000.0

    picture: str = ""
    """File of the picture whose style is taken."""
    kind: Literal["transport", "gram"] = "transport"
    """``transport`` keeps the style's textures apart; ``gram`` compares which features occur together."""
    points: int = Field(24, ge=2, le=64)
    """Places a side at which transport compares; memory grows with its fourth power."""

    def make_loss(self, around: Surroundings) -> Loss:
        style, features = around.picture(self.picture, "style"), around.features("style")
        if self.kind == "gram":
            return gram_loss(style, features)
        return transport_loss(style, features, self.points)


def gram_loss(style: Tensor, features: Features) -> Loss:
    """Mean over the maps of the squared difference of Gram matrices, each over the size of the style's.

    Args:
        style: (1 or B, 3, h, w) in [-1, 1].
        features: see `Features`.
    """
    with torch.no_grad():
        targets = [gram(part) for part in features(style)]

    def loss(x: Tensor) -> Tensor:
        parts = [
            (gram(mine) - theirs).square().sum((1, 2)) / theirs.square().sum((1, 2)).clamp(min=1e-8)
            for mine, theirs in zip(features(x), targets)
        ]
        return torch.stack(parts).mean(0)

    return loss


def gram(features: Tensor) -> Tensor:
    """Mean products of channels over places: (B, C, h, w) to (B, C, C)."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def transport_loss(style: Tensor, features: Features, points: int = 24) -> Loss:
    """STROTSS's style loss: relaxed earth mover's distance of features, their moments, and the same of colours.

    The features of all maps at one place are one vector. Places lie on a grid of `points` a side, over whose fields
    the maps are averaged, so that the loss of a picture is the same each time.
    """
    with torch.no_grad():
        target = hypercolumns(features(style), points), hypercolumns([style], points)

    def loss(x: Tensor) -> Tensor:
        mine, colours = hypercolumns(features(x), points), hypercolumns([x], points)
        values = []
        for i in range(len(x)):  # one picture at a time, as the costs are points^4 numbers
            theirs, paint = (part[i % len(part)] for part in target)
            values.append(
                relaxed_transport(1 - F.normalize(mine[i], dim=1) @ F.normalize(theirs, dim=1).T)
                + moments(mine[i], theirs)
                + relaxed_transport(euclidean(colours[i], paint)) / 2
            )
        return torch.stack(values)

    return loss


def hypercolumns(maps: Sequence[Tensor], points: int) -> Tensor:
    """Maps (B, C_i, h_i, w_i) averaged (or repeated) on a grid: (B, points^2, sum of C_i)."""
    return torch.cat([F.adaptive_avg_pool2d(part, points).flatten(2) for part in maps], 1).transpose(1, 2)


def relaxed_transport(cost: Tensor) -> Tensor:
    """The greater of the mean costs of moving each row (N, M) to its cheapest column and the other way round."""
    return torch.maximum(cost.amin(1).mean(), cost.amin(0).mean())


def moments(a: Tensor, b: Tensor) -> Tensor:
    """Mean difference of the means and covariances of (N, D) and (M, D), over their sizes in `b`."""
    size = b.std().clamp(min=1e-6)
    covariances = [(part - part.mean(0)).T @ (part - part.mean(0)) / len(part) for part in (a, b)]
    shift = (a.mean(0) - b.mean(0)).abs().mean() / size
    return shift + (covariances[0] - covariances[1]).abs().mean() / size.square()


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Distances of (N, D) to (M, D), (N, M), with a gradient also where they meet."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return (squares.clamp(min=0) + 1e-6).sqrt()
