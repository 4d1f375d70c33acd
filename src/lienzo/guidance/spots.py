"""Painting in parts: a canvas that changes under a mask only, and prompts that see one spot of the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.canvas import Canvas, learning_rate, project
from lienzo.guidance.cutouts import Cutter
from lienzo.guidance.draws import Generators

EDGE = 0.15  # of the spot's longer side: how much of its surroundings a spot's prompt sees


class MaskedCanvas:
    """Another canvas where `mask` is 1, a picture where it is 0, and a blend between.

    Args:
        canvas: what is painted.
        picture: (1 or B, 3, H, W) in [0, 1], of the canvas's size.
        mask: (1, 1, H, W) in [0, 1].
    """

    def __init__(self, canvas: Canvas, picture: Tensor, mask: Tensor):
        self.canvas, self.picture, self.mask = canvas, picture, mask
        self.lr = learning_rate(canvas)

    def render(self) -> Tensor:
        painted = self.canvas.render()
        return torch.lerp(self.picture.to(painted).expand_as(painted), painted, self.mask.to(painted))

    def parameters(self) -> list[Tensor]:
        return self.canvas.parameters()

    def project(self) -> None:
        """The canvas's own projection, where it has one."""
        project(self.canvas)


class SpotCutter:
    """Cutouts of one spot of a picture with a little of its surroundings, which get no gradient.

    Args:
        cutter: cuts the spot's rectangle.
        mask: (1, 1, H, W) in [0, 1], 1 where the spot is, of the size of the pictures.

    Raises:
        BadInput: the mask is black all over.
    """

    def __init__(self, cutter: Cutter, mask: Tensor):
        self.cutter, self.mask = cutter, mask
        self.box = spot_box(mask)

    def __call__(self, picture: Tensor, progress: float = 0.0, generators: Generators = None) -> Tensor:
        mask = self.mask.to(picture)
        seen = picture * mask + (picture * (1 - mask)).detach()
        top, bottom, left, right = self.box
        return self.cutter(seen[:, :, top:bottom, left:right], progress, generators)


def spot_box(mask: Tensor) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the part of (1, 1, H, W) above a half, with an edge around it."""
    height, width = mask.shape[-2:]
    inside = (mask[0, 0] > 0.5).nonzero()  # (n, 2)
    if not len(inside):
        raise BadInput("The mask of a spot has no white part; paint white where the spot's prompt should be.")
    (top, left), (bottom, right) = inside.amin(0).tolist(), (inside.amax(0) + 1).tolist()
    edge = round(EDGE * max(bottom - top, right - left))
    return max(top - edge, 0), min(bottom + edge, height), max(left - edge, 0), min(right + edge, width)
