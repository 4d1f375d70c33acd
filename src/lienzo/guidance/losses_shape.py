"""Losses on the layout of a picture: symmetry, smoothness, its border."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from lienzo.guidance.colours import parse_colour
from lienzo.guidance.losses import Loss, symmetry_horizontal, symmetry_vertical
from lienzo.guidance.losses_chosen import ChosenLoss, Surroundings


def _colour(text: str) -> str:
    parse_colour(text)
    return text


class SymmetryLoss(ChosenLoss):
    """Makes a picture like its mirror image."""

    strength: ClassVar[float] = 1500.0

    mirror: Literal["horizontal", "vertical", "both", "turn"] = "horizontal"
    """Left to right, top to bottom, both, or turned by half a circle."""

    def make_loss(self, around: Surroundings) -> Loss:
        losses: dict[str, Loss] = {
            "horizontal": symmetry_horizontal,
            "vertical": symmetry_vertical,
            "both": lambda x: (symmetry_horizontal(x) + symmetry_vertical(x)) / 2,
            "turn": lambda x: (x - x.flip(-1, -2)).square().mean((1, 2, 3)),
        }
        return losses[self.mirror]


class SmoothnessLoss(ChosenLoss):
    """Smooths: lowers the differences between neighbours."""

    strength: ClassVar[float] = 500.0

    kind: Literal["default", "clipped", "log"] = "default"
    """``default`` squares differences, which blurs edges most; ``clipped`` leaves those above `edge` alone; ``log``
    (Black et al. 1998) smooths small differences and lets large ones be."""
    edge: float = Field(0.25, gt=0, le=2)
    """Difference, of colours over [-1, 1], from which a step counts as an edge; for clipped and log."""

    def make_loss(self, around: Surroundings) -> Loss:
        return lambda x: self._each(slopes(x)).mean((1, 2))

    def _each(self, squares: Tensor) -> Tensor:
        if self.kind == "clipped":
            return squares.clamp(max=self.edge**2)
        if self.kind == "log":
            return torch.log1p(squares / self.edge**2) * self.edge**2
        return squares


def slopes(x: Tensor) -> Tensor:
    """Mean squared difference of each pixel of (B, 3, H, W) to its right and its lower neighbour: (B, H, W)."""
    right, down = torch.zeros_like(x), torch.zeros_like(x)
    right[..., :-1] = x.diff(dim=-1)
    down[..., :-1, :] = x.diff(dim=-2)
    return (right.square() + down.square()).mean(1)


class EdgeLoss(ChosenLoss):
    """Pulls the border of a picture to one colour, so that what is painted stands free."""

    strength: ClassVar[float] = 1500.0

    colour: Annotated[str, AfterValidator(_colour)] = "white"
    """Of the border: a name or #ff8800."""
    thickness: float = Field(0.1, gt=0, le=0.5)
    """Of the border, as a share of the shorter side."""

    def make_loss(self, around: Surroundings) -> Loss:
        colour = parse_colour(self.colour) * 2 - 1

        def edge(x: Tensor) -> Tensor:
            height, width = x.shape[2:]
            wide = max(round(self.thickness * min(height, width)), 1)
            rows, columns = (torch.arange(n, device=x.device) for n in (height, width))
            at_edge = ((rows < wide) | (rows >= height - wide))[:, None] | (columns < wide) | (columns >= width - wide)
            return (x[..., at_edge] - colour.to(x)[:, None]).square().mean((1, 2))

        return edge
