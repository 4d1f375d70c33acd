"""Losses on the colours of a picture: a palette, how colourful it is, how much light and dark differ."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from lienzo.data.recolour import HUES, PAINTS, REACH
from lienzo.guidance.augment import LUMA
from lienzo.guidance.colours import parse_palette
from lienzo.guidance.losses import Loss
from lienzo.guidance.losses_chosen import ChosenLoss, Surroundings

BRIGHT = 0.9  # of a paint's full value, as far as drawings go
DARKEST = 0.02  # value below which hardly anything has a colour


def _palette(text: str) -> str:
    parse_palette(text)
    return text


def _pigment(text: str) -> str:
    if text not in HUES:
        raise ValueError(f"there is no paint of that name; there are {', '.join(HUES)}")
    return text


class PaletteLoss(ChosenLoss):
    """Pulls each pixel to the nearest colour of a palette."""

    strength: ClassVar[float] = 1500.0

    colours: Annotated[str, AfterValidator(_palette)] = Field("black->white", max_length=2000)
    """Colours and ranges: ``red, #ff8800, navy->white*5``."""

    def make_loss(self, around: Surroundings) -> Loss:
        colours = parse_palette(self.colours) * 2 - 1  # (N, 3)

        def palette(x: Tensor) -> Tensor:
            pixels = x.flatten(2).transpose(1, 2)  # (B, H*W, 3)
            table = colours.to(x)
            with torch.no_grad():
                nearest = (table.square().sum(1) - 2 * pixels @ table.T).argmin(-1)
            return (pixels - table[nearest]).square().mean((1, 2))

        return palette


class ColourfulnessLoss(ChosenLoss):
    """Makes a picture as colourful as asked, by the measure of Hasler and Süsstrunk (2003)."""

    strength: ClassVar[float] = 3000.0

    amount: float = Field(0.4, ge=0, le=1.5)
    """0 is grey; by the paper 0.13 is slightly, 0.23 averagely, 0.32 highly and 0.43 extremely colourful."""

    def make_loss(self, around: Surroundings) -> Loss:
        return lambda x: (colourfulness(x) - self.amount).square()


def colourfulness(x: Tensor) -> Tensor:
    """Hasler and Süsstrunk's colourfulness of (B, 3, H, W) in [-1, 1], over 255: (B,)."""
    red, green, blue = (x / 2).flatten(2).unbind(1)
    across, along = red - green, (red + green) / 2 - blue
    spread = across.var(1, correction=0) + along.var(1, correction=0)
    shift = across.mean(1).square() + along.mean(1).square()
    return (spread + 1e-8).sqrt() + 0.3 * (shift + 1e-8).sqrt()


class PigmentLoss(ChosenLoss):
    """Keeps the pixels of a colour's hue as bright as its paint, so that red does not darken to brown.

    The bundled CLIPs were trained on pictures made lighter and darker, and hardly see that a red apple is too dark.
    """

    strength: ClassVar[float] = 6000.0

    colour: Annotated[str, AfterValidator(_pigment)] = Field("red", max_length=20)
    """Red, orange, yellow, green, blue, purple or pink."""

    def make_loss(self, around: Surroundings) -> Loss:
        goal = BRIGHT * PAINTS[self.colour].value

        def pigment(x: Tensor) -> Tensor:
            brightest = (x.amax(1) + 1) / 2  # (B, H, W), the value of HSV
            lacking = (goal - brightest).clamp(min=0).square()
            return (of_hue((x.detach() + 1) / 2, HUES[self.colour]) * lacking).mean((1, 2))

        return pigment


def of_hue(rgb: Tensor, hue: float) -> Tensor:
    """Saturation of the pixels of (B, 3, H, W) in [0, 1] whose hue is near `hue` degrees, 0 elsewhere: (B, H, W).

    Hues are measured on the circle of colours, which is within 1.2 degrees of the hexagon of HSV.
    """
    red, green, blue = rgb.unbind(1)
    angle = torch.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue).rad2deg()
    near = ((angle - hue + 180) % 360 - 180).abs() < REACH
    value = rgb.amax(1)
    return near * (value - rgb.amin(1)) / value.clamp(min=DARKEST)


class ContrastLoss(ChosenLoss):
    """Makes light and dark differ as much as asked."""

    strength: ClassVar[float] = 3000.0

    amount: float = Field(0.25, ge=0, le=0.5)
    """Standard deviation of the light, which runs from 0 to 1."""

    def make_loss(self, around: Surroundings) -> Loss:
        def contrast(x: Tensor) -> Tensor:
            light = torch.einsum("bchw,c->bhw", x / 2, torch.tensor(LUMA).to(x))
            return ((light.flatten(1).var(1, correction=0) + 1e-8).sqrt() - self.amount).square()

        return contrast
