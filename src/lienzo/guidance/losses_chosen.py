"""Losses that a person adds by name, each with settings of its own: ``palette:2; colours=red->blue``, ``symmetry``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.options import Options
from lienzo.core.tables import Names
from lienzo.guidance.losses import Loss
from lienzo.guidance.perceptor import Perceptor
from lienzo.guidance.settings import parse_choice

CHOSEN_LOSSES = Names(
    "loss",
    {
        "aesthetic": "lienzo.guidance.losses_aesthetic:AestheticLoss",
        "colourfulness": "lienzo.guidance.losses_tone:ColourfulnessLoss",
        "contrast": "lienzo.guidance.losses_tone:ContrastLoss",
        "edge": "lienzo.guidance.losses_shape:EdgeLoss",
        "init": "lienzo.guidance.losses_target:InitLoss",
        "palette": "lienzo.guidance.losses_tone:PaletteLoss",
        "pigment": "lienzo.guidance.losses_tone:PigmentLoss",
        "smoothness": "lienzo.guidance.losses_shape:SmoothnessLoss",
        "style": "lienzo.guidance.losses_style:StyleLoss",
        "symmetry": "lienzo.guidance.losses_shape:SymmetryLoss",
        "target": "lienzo.guidance.losses_target:TargetLoss",
    },
)
"""Name -> `ChosenLoss`."""

Features = Callable[[Tensor], Sequence[Tensor]]
"""Pictures (B, 3, H, W) in [-1, 1] to feature maps (B, C, h, w), the finest first."""


@dataclass(frozen=True)
class Surroundings:
    """What a run has that a loss may want.

    `init` is the starting picture (1 or B, 3, H, W) in [-1, 1]; `read_picture` reads a file as (1, 3, H, W) in [0, 1];
    `perceptors` are those that judge the prompts.
    """

    init: Tensor | None = None
    read_picture: Callable[[str], Tensor] | None = None
    perceptors: Sequence[Perceptor] = ()

    def picture(self, path: str, loss: str) -> Tensor:
        """A picture's file as (1, 3, H, W) in [-1, 1].

        Raises:
            BadInput: no file is named, or none can be read here.
        """
        if not path:
            raise BadInput(f"The loss '{loss}' needs a picture; write '{loss}; picture=FILE'.")
        if self.read_picture is None:
            raise BadInput(f"The picture of the loss '{loss}' cannot be read here.")
        return self.read_picture(path) * 2 - 1

    def features(self, loss: str) -> Features:
        """The feature maps of the first perceptor that has any.

        Raises:
            BadInput: none of them has.
        """
        for perceptor in self.perceptors:
            maps = getattr(perceptor, "feature_maps", None)
            if maps is not None:
                return lambda pictures: maps((pictures + 1) / 2)
        raise BadInput(f"The loss '{loss}' compares feature maps, which no CLIP here has; add the CLIP 'guide'.")


class ChosenLoss(Options, ABC):
    """The settings of a loss, and the loss that they make."""

    strength: ClassVar[float]
    """Scale at weight 1: enough to be seen beside prompts of the default scale of 5000."""

    @abstractmethod
    def make_loss(self, around: Surroundings) -> Loss:
        """The loss, for pictures (B, 3, H, W) in [-1, 1].

        Raises:
            BadInput: something that it needs is not there.
        """


def chosen_loss(text: str, around: Surroundings) -> tuple[str, Loss, float]:
    """The loss of one line: its name, itself, and its scale.

    Args:
        text: ``NAME[:WEIGHT][; KEY=VALUE]...``; a negative weight does the opposite.
        around: what the run has.

    Raises:
        BadInput: there is no such loss or setting, or something that it needs is not there.
    """
    choice = parse_choice(text)
    kind: type[ChosenLoss] = CHOSEN_LOSSES.load(choice.name)
    try:
        settings = kind.make(None, **choice.settings)
    except BadInput as error:
        there = ", ".join(kind.model_fields)
        raise BadInput(f"The loss '{choice.name}' (settings: {there or 'none'}): {error}") from error
    return choice.name, settings.make_loss(around), kind.strength * choice.weight


def named_uniquely(rows: Sequence[tuple[str, Loss, float]]) -> list[tuple[str, Loss, float]]:
    """The same losses, with a number behind each name that came before."""
    seen: dict[str, int] = {}
    named = []
    for name, loss, scale in rows:
        seen[name] = seen.get(name, 0) + 1
        named.append((name if seen[name] == 1 else f"{name}-{seen[name]}", loss, scale))
    return named
