"""Plain painted backdrops: a sky, and a ground before it."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from lienzo.data.told_settings import Setting

Colour = tuple[int, int, int]

HORIZON = 0.68  # of the height; things stand a little below it
FEET = 0.9
SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((141, 200, 240), (222, 241, 252)),
    "pale": ((188, 208, 226), (232, 239, 245)),
    "night": ((18, 24, 62), (58, 68, 128)),
    "sunset": ((110, 82, 150), (255, 178, 112)),
    "space": ((10, 10, 30), (26, 20, 58)),
}
"""Colours above and at the horizon."""
GROUNDS: dict[str, tuple[Colour, Colour]] = {
    "grass": ((142, 200, 98), (104, 168, 72)),
    "snow": ((250, 252, 255), (222, 232, 243)),
    "beach": ((247, 225, 167), (233, 203, 136)),
    "desert": ((240, 200, 130), (222, 172, 98)),
    "sea": ((96, 172, 220), (52, 122, 184)),
    "earth": ((110, 150, 92), (82, 118, 70)),
}
"""Colours at the horizon and below."""
DIMMED: dict[str, tuple[Colour, float]] = {"night": ((24, 30, 80), 0.45), "sunset": ((120, 60, 90), 0.3)}
"""What a ground is tinted with under a sky, and how much."""
STARS = 42


def backdrop(setting: Setting, size: int) -> Tensor:
    """A backdrop (3, size, size) in [0, 1]."""
    sky = setting.sky or ("pale" if setting.ground == "snow" else "day")
    y, x = torch.meshgrid(*[(torch.arange(size) + 0.5) / size] * 2, indexing="ij")
    picture = _shaded(SKIES[sky], y / HORIZON)
    if sky in ("night", "space"):
        picture = _starry(picture, x, y, size)
    if sky == "sunset":
        picture = _over(picture, (255, 226, 150), _disc(x, y, (0.74, HORIZON - 0.04), 0.15, size))
    ground = setting.ground or ("earth" if sky in ("night", "sunset") else None)
    if ground is None:
        return picture
    if ground == "beach":
        picture = _ground(picture, "sea", sky, y, y - HORIZON + 0.1, size)
    level = ground in ("sea",)
    edge = y - HORIZON + (0.0 if level else 0.02 * torch.sin(2 * math.pi * (0.8 * x + 0.1)))
    return _ground(picture, ground, sky, y, edge, size)


def _ground(picture: Tensor, ground: str, sky: str, y: Tensor, edge: Tensor, size: int) -> Tensor:
    """The picture with a ground where `edge`, heights below the ground's edge, is positive."""
    colours = _shaded(GROUNDS[ground], (y - HORIZON) / (1 - HORIZON))
    if sky in DIMMED:
        tint, share = DIMMED[sky]
        colours = torch.lerp(colours, _colour(tint).expand_as(colours), share)
    return torch.lerp(picture, colours, (edge * size + 0.5).clamp(0, 1))


def _starry(picture: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    places = torch.rand(STARS, 3, generator=Generator().manual_seed(7)).tolist()
    for left, top, bright in places:
        star = _disc(x, y, (left, top), 0.0025 + 0.004 * bright, size)
        picture = _over(picture, (255, 250, 225), star)
    return picture


def _disc(x: Tensor, y: Tensor, middle: tuple[float, float], radius: float, size: int) -> Tensor:
    """Cover of a disc, (H, W), its edge one pixel soft."""
    far = ((x - middle[0]).square() + (y - middle[1]).square()).sqrt()
    return ((radius - far) * size + 0.5).clamp(0, 1)


def _over(picture: Tensor, colour: Colour, cover: Tensor) -> Tensor:
    return torch.lerp(picture, _colour(colour).expand_as(picture), cover)


def _shaded(colours: tuple[Colour, Colour], share: Tensor) -> Tensor:
    return torch.lerp(_colour(colours[0]), _colour(colours[1]), share.clamp(0, 1))


def _colour(colour: Colour) -> Tensor:
    return torch.tensor(colour).view(3, 1, 1) / 255
