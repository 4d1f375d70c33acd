"""Cutting a drawing out of its white paper, so that it can stand before something."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PALE = 0.038  # how much darker than paper a pixel of a drawing is, at least, in one of its colours
FAINT = 0.04  # the same for the lines that keep paper out, without the grain of the paper
SMEAR = 0.055  # the same for the pale parts of a thing that is not pale; less is a smear on its paper
CLEAR = 0.16  # the same for what surely is not pale
GAP = 0.024  # of the side: half of the widest gap in an outline through which paper does not come in
ROOM = 0.05  # of the side: half of the width of what it would fill there
SPECKLED = 64  # pixels a side from which on drawings have specks about them
RIM = 3  # pixels at the edge of a drawing that are mixed with paper


@dataclass(frozen=True)
class Cutout:
    """A drawing without paper.

    Attributes:
        layer: (4, h, w), colours in [0, 1] times opacity, and opacity; no larger than the drawing.
        box: left, top, width and height of the drawing, as shares of its sheet.
    """

    layer: Tensor
    box: tuple[float, float, float, float]

    @property
    def opacity(self) -> Tensor:
        """(h, w)."""
        return self.layer[3]


def cut_out(picture: Tensor) -> Cutout:
    """A drawing (3, S, S) in [-1, 1] cut out.

    Paper is what is near white and joined to the border; white inside a drawing, such as the white of an eye, stays.
    Smears on the paper about a drawing are seen through.
    """
    size = picture.shape[-1]
    colour = (picture + 1) / 2
    dark = _smooth((1 - colour).amax(0))  # without its grain
    drawn = _drawn(dark)
    body = _body(dark, drawn)
    opacity, clean = _unmixed(colour, body)
    layer = torch.cat([clean * opacity, opacity[None]])
    layer = torch.where(drawn & ~body, _veil(colour), layer)
    rows, columns = (_extent(drawn, axis) for axis in (1, 0))
    (top, bottom), (left, right) = rows, columns
    box = (left / size, top / size, (right - left) / size, (bottom - top) / size)
    return Cutout(layer[:, top:bottom, left:right], box)


def _drawn(dark: Tensor) -> Tensor:
    """What of a sheet (H, W) belongs to a drawing, by how dark it is.

    Paper that comes in through a gap of the outline is no paper where it finds much room: the body of a snowman. Where
    it finds little, it is what is seen between two legs.
    """
    size = len(dark)
    gap, room = round(GAP * size), round(ROOM * size)
    ink = dark > PALE
    paper = outside(ink)
    kept_out = _around(_smooth(dark) > FAINT, gap)
    doubtful = paper & ~kept_out
    inner = grown(grown(doubtful, -room), room + gap) & doubtful if room else doubtful
    drawn = ~paper | inner
    return reached(grown(drawn, -2), drawn) if size >= SPECKLED else drawn


def _body(dark: Tensor, drawn: Tensor) -> Tensor:
    """What of a drawing (H, W) is more than a smear on the paper: clear ink, what it closes in or has on three sides,
    such as a sail, and what is pale but wide, such as a ghost."""
    size = len(dark)
    room = round(ROOM * size)
    clear = ~_around(dark > CLEAR, round(GAP * size))
    pale = drawn & ~clear
    sure = pale & (dark > SMEAR) if (clear & drawn).sum() > pale.sum() else pale
    wide = grown(grown(sure, -room), 3 * room) & pale if room else pale
    sides = _sides(dark > CLEAR) > 2
    wide = wide | reached(grown(sure & sides, -RIM), pale & sides)
    even = _smooth((wide | clear & drawn).float(), 2) > 0.5  # a pale edge is ragged
    return drawn & (grown(clear & drawn, 1) | wide & even)


def _sides(ink: Tensor) -> Tensor:
    """On how many of four sides each place of a sheet (H, W) has ink, near or far."""
    ways = [ink.int().flip(own).cummax(axis).values.flip(own) for axis in (0, 1) for own in ((), (axis,))]
    return torch.stack(ways).sum(0)


def _veil(colour: Tensor) -> Tensor:
    """Colours (3, H, W) as a layer (4, H, W) that lets through what is behind, the more the paler they are."""
    ink = torch.stack([_smooth(own) for own in 1 - colour])
    opacity = ((ink.amax(0) - PALE) / (CLEAR - PALE)).clamp(0, 1)
    return torch.cat([(opacity - ink).clamp_min(0), opacity[None]])


def _around(ink: Tensor, gap: int) -> Tensor:
    """What of a sheet (H, W) is outside ink, where gaps of up to twice so many pixels are closed."""
    return grown(outside(grown(ink, gap)), gap) if gap else outside(ink)


def _smooth(field: Tensor, reach: int = 1) -> Tensor:
    """Means (H, W) of so many pixels to all sides."""
    return F.avg_pool2d(field[None, None], 2 * reach + 1, 1, reach, count_include_pad=False)[0, 0]


def outside(ink: Tensor) -> Tensor:
    """What of a sheet (H, W) that is not ink is joined to its border, by sides and not by corners."""
    free = F.pad(~ink, (1, 1, 1, 1), value=True)
    border = torch.ones_like(free)
    border[1:-1, 1:-1] = False
    return reached(border, free)[1:-1, 1:-1]


def reached(start: Tensor, free: Tensor) -> Tensor:
    """What of a free region (H, W) can be reached from a start, by sides."""
    within = free.float()[None, None]
    found = start.float()[None, None] * within
    while True:
        before = found.sum()
        for _ in range(16):
            across = F.max_pool2d(found, (1, 3), 1, (0, 1))
            found = torch.maximum(across, F.max_pool2d(found, (3, 1), 1, (1, 0))) * within
        if found.sum() == before:
            return found[0, 0] > 0


def _unmixed(colour: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity (H, W) and colours (3, H, W) of a drawing whose rim is mixed with white.

    A pixel of the rim has the colour of the drawing next to it; how far it is from white on the way there is its
    opacity. In a line with no inner part the darkest pixel nearby stands for that colour.
    """
    solid = grown(drawn, -RIM)
    spread, weight = colour * solid, solid.float()[None]
    for _ in range(RIM + 1):  # colours of the inner part flow out to the rim
        near = F.avg_pool2d(torch.cat([spread, weight]), 3, 1, 1) * 9
        spread, weight = torch.where(weight > 0, torch.cat([spread, weight]), near).split([3, 1])
    inner = torch.where(weight > 0, spread / weight.clamp_min(1e-6), colour)
    away = 1 - inner
    share = ((1 - colour) * away).sum(0) / away.square().sum(0).clamp_min(0.02)
    rim = drawn & ~solid & (weight[0] > 0)
    soft = (2 * _smooth(_smooth(drawn.float())) - 1).clamp_min(0)
    share = torch.where(away.amax(0) > CLEAR, share.clamp(0, 1), soft)  # white has no colour to tell its share by
    ink = (1 - colour).amax(0)
    thin = ink / F.max_pool2d(ink[None, None], 2 * RIM - 1, 1, RIM - 1)[0, 0].clamp_min(CLEAR)
    narrow = drawn & ~solid & (weight[0] == 0)
    inner = torch.where(narrow, 1 - (1 - colour) / thin.clamp_min(1e-6), inner)
    opacity = torch.where(rim, share, torch.where(narrow, thin, drawn.float()))
    return opacity, torch.where((rim | narrow) & (opacity < 1), inner, colour)


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask (H, W) grown by some pixels to all sides, or shrunk where they are negative."""
    reach = 2 * abs(pixels) + 1
    field = (mask if pixels > 0 else ~mask).float()[None, None]
    wide = F.max_pool2d(field, reach, 1, abs(pixels))[0, 0] > 0
    return wide if pixels > 0 else ~wide


def _extent(drawn: Tensor, axis: int) -> tuple[int, int]:
    """First and last row or column of what is drawn; all where nothing is."""
    inside = drawn.any(axis).nonzero()[:, 0]
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, drawn.shape[1 - axis])
