"""Losses that keep a picture near another: one from a file, or the one that the run started from."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.losses import Loss, init_loss
from lienzo.guidance.losses_chosen import ChosenLoss, Surroundings


class TargetLoss(ChosenLoss):
    """Keeps near the picture of a file."""

    strength: ClassVar[float] = 1000.0

    picture: str = ""
    """File of the picture, which is stretched to the size painted."""
    by: Literal["pixels", "features"] = "pixels"
    """Compare colours, or what a CLIP's inner maps see: shapes stay and colours may change."""

    def make_loss(self, around: Surroundings) -> Loss:
        return near(around.picture(self.picture, "target"), self.by, around, "target")


class InitLoss(ChosenLoss):
    """Keeps near the starting picture."""

    strength: ClassVar[float] = 1000.0

    by: Literal["pixels", "features"] = "features"
    """Compare colours, or what a CLIP's inner maps see: shapes stay and colours may change."""

    def make_loss(self, around: Surroundings) -> Loss:
        if around.init is None:
            raise BadInput("The loss 'init' keeps near the starting picture, and there is none; give one.")
        return near(around.init, self.by, around, "init")


def near(picture: Tensor, by: str, around: Surroundings, loss: str) -> Loss:
    """The distance to `picture` (1 or B, 3, h, w) in [-1, 1], by ``pixels`` or by ``features``."""
    features = around.features(loss) if by == "features" else None

    def distance(x: Tensor) -> Tensor:
        there = F.interpolate(picture.to(x), x.shape[2:], mode="bilinear", antialias=True)
        unit = None if features is None else lambda seen: [F.normalize(part, dim=1) for part in features(seen)]
        return init_loss(there, features=unit)(x)

    return distance
