"""Where drawings go in a scene: beside each other as told, and on each other by what their outlines show.

Lengths are shares of a sheet, from the left and from the top; a drawing is a `Sprite`, a place for what was cut out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.data.told_scenes import Apart, Part, Thing, worn_where
from lienzo.tasks.engines.cutouts import Cutout
from lienzo.tasks.engines.outlines import head_of, rim_of, roomy_below, top_of

Frame = tuple[float, float, float, float]
"""Left, top, width, height."""
RASTER = 96  # pixels of the longer side of an outline
MARGIN = 0.03  # around things that touch, of the longer side
WORN_SIZE = {"head": 0.72, "ears": 1.16, "eyes": 0.78, "neck": 0.62, "throat": 0.4, "body": 1.15}
"""Widths of what is worn, for a head that is 1 wide."""


@dataclass(frozen=True)
class Sprite:
    """A thing, by its index, and where its drawing is."""

    thing: int
    frame: Frame


@dataclass(frozen=True)
class Arrangement:
    """Sprites from back to front, and the frame that is theirs."""

    sprites: tuple[Sprite, ...]
    frame: Frame

    @property
    def extent(self) -> Frame:
        """Around all drawings."""
        left, top = (min(sprite.frame[i] for sprite in self.sprites) for i in (0, 1))
        right, bottom = (max(sprite.frame[i] + sprite.frame[i + 2] for sprite in self.sprites) for i in (0, 1))
        return left, top, right - left, bottom - top

    def moved(self, right: float, down: float, scale: float = 1.0) -> Arrangement:
        """All of it made larger about the corner of the sheet, and then moved."""

        def own(frame: Frame) -> Frame:
            left, top, width, height = frame
            return left * scale + right, top * scale + down, width * scale, height * scale

        return Arrangement(tuple(replace(s, frame=own(s.frame)) for s in self.sprites), own(self.frame))

    def into(self, frame: Frame) -> Arrangement:
        """Fitted into another frame, in its middle."""
        scale = min(frame[2] / self.frame[2], frame[3] / self.frame[3])
        middle = [self.frame[i] + self.frame[i + 2] / 2 for i in (0, 1)]
        right, down = (frame[i] + frame[i + 2] / 2 - scale * middle[i] for i in (0, 1))
        return self.moved(right, down, scale)

    def sized(self, longest: float) -> Arrangement:
        """With drawings that reach so far in width or height, from the corner of the sheet on."""
        left, top, width, height = self.extent
        scale = longest / max(width, height)
        return self.moved(-left * scale, -top * scale, scale)

    def put(self, *, x: float, y: float, at: tuple[float, float]) -> Arrangement:
        """Moved so that a point of its extent, in shares of it, is at (x, y)."""
        left, top, width, height = self.extent
        return self.moved(x - left - at[0] * width, y - top - at[1] * height)


def arranged(layout: Part, cutouts: Sequence[Cutout]) -> Arrangement:
    """The things of a layout in their places; `cutouts` are of its things, in their order."""
    return _Arranger(cutouts).part(layout, iter(range(len(cutouts))))


class _Arranger:
    def __init__(self, cutouts: Sequence[Cutout]):
        self.cutouts = cutouts

    def part(self, part: Part, order: Iterator[int]) -> Arrangement:
        if isinstance(part, Thing):
            thing = next(order)
            return Arrangement((Sprite(thing, self.cutouts[thing].box),), (0.0, 0.0, 1.0, 1.0))
        if isinstance(part, Apart):
            inside = [self.part(own, order) for own in part.parts]
            placed = [own.into((x, y, side, side)) for own, (x, y, side) in zip(inside, part.boxes, strict=True)]
            sprites = tuple(sprite for own in placed for sprite in own.sprites)
            return Arrangement(sprites, (0.0, 0.0, 1.0, 1.0))
        first, second = self.part(part.first, order), self.part(part.second, order)
        if part.relation == "wearing":
            assert isinstance(part.second, Thing)
            joined = self.worn(first, second, worn_where(part.second.text) or "head")
        else:
            joined = self.ways()[part.relation](first, second)
        return _framed(joined)

    def ways(self) -> dict[str, Callable[[Arrangement, Arrangement], tuple[Sprite, ...]]]:
        return {"on": self.on, "under": self.under, "in": self.inside, "into": self.into,
                "holding": self.holding, "before": self.before, "behind": self.behind}  # fmt: skip

    def worn(self, wearer: Arrangement, worn: Arrangement, place: str) -> tuple[Sprite, ...]:
        """The worn thing, at the wearer's head."""
        wearer = wearer.sized(1.0)
        wide, high = wearer.extent[2:]
        left, top, width, height = (a * b for a, b in zip(head_of(self.outline(wearer)), (wide, high) * 2, strict=True))
        middle, chin = left + width / 2, top + height
        worn = worn.sized(1.0)
        worn = worn.moved(0, 0, WORN_SIZE[place] * width / worn.extent[2])
        if place == "body":
            return worn.put(x=middle, y=chin - 0.06 * height, at=(0.5, 0.0)).sprites + wearer.sprites
        worn = worn.moved(0, 0, min(1.0, 0.75 * width / worn.extent[3]))  # nothing is much taller than wide
        spots = {
            "head": (top + 0.16 * height, 1.0), "ears": (top + 0.42 * height, 0.5), "eyes": (top + 0.46 * height, 0.5),
            "neck": (chin - 0.18 * height, 0.0), "throat": (chin - 0.08 * height, 0.0),
        }  # fmt: skip
        y, share = spots[place]
        return wearer.sprites + worn.put(x=middle, y=y, at=(0.5, share)).sprites

    def on(self, first: Arrangement, second: Arrangement) -> tuple[Sprite, ...]:
        second = second.sized(1.0)
        width, height = second.extent[2:]
        first = first.sized(min(1.3 * width, 0.95 if len(first.sprites) > 1 else 0.62))
        outline = self.outline(second)
        surface = top_of(outline) * height
        first = first.put(x=width / 2, y=surface + 0.07 * height, at=(0.5, 1.0))
        return second.sprites + first.sprites

    def under(self, first: Arrangement, second: Arrangement) -> tuple[Sprite, ...]:
        second = second.sized(1.0)
        width, height = second.extent[2:]
        first = first.sized(0.5 if len(first.sprites) == 1 else 0.75)
        roomy = roomy_below(self.outline(second))
        y, share = (height, 1.0) if roomy else (height - 0.04, 0.0)
        return second.sprites + first.put(x=width / 2, y=y, at=(0.5, share)).sprites

    def inside(self, first: Arrangement, second: Arrangement) -> tuple[Sprite, ...]:
        second, first = second.sized(1.0), first.sized(0.46)
        width, height = second.extent[2:]
        return second.sprites + first.put(x=width / 2, y=0.58 * height, at=(0.5, 0.5)).sprites

    def into(self, first: Arrangement, second: Arrangement) -> tuple[Sprite, ...]:
        second = second.sized(1.0)
        width, height = second.extent[2:]
        first = first.sized(1.0)
        first = first.moved(0, 0, 0.62 * width / max(first.extent[2], 0.8 * first.extent[3]))
        rim = rim_of(self.outline(second)) * height
        return first.put(x=width / 2, y=rim + 0.35 * first.extent[3], at=(0.5, 1.0)).sprites + second.sprites

    def holding(self, first: Arrangement, second: Arrangement) -> tuple[Sprite, ...]:
        first, second = first.sized(1.0), second.sized(0.55)
        width, height = first.extent[2:]
        tall = second.extent[3] > 1.3 * second.extent[2]
        y, share = (0.86 * height, 1.0) if tall else (0.72 * height, 0.5)
        return first.sprites + second.put(x=0.92 * width, y=y, at=(0.3, share)).sprites

    def before(self, first: Arrangement, second: Arrangement) -> tuple[Sprite, ...]:
        second, first = second.sized(1.0), first.sized(0.68)
        width, height = second.extent[2:]
        return second.sprites + first.put(x=0.12 * width, y=height + 0.1, at=(0.35, 1.0)).sprites

    def behind(self, first: Arrangement, second: Arrangement) -> tuple[Sprite, ...]:
        second, first = second.sized(1.0), first.sized(0.85)
        width, height = second.extent[2:]
        return first.put(x=0.6 * width, y=height - 0.1, at=(0.2, 1.0)).sprites + second.sprites

    def outline(self, arrangement: Arrangement) -> Tensor:
        """What an arrangement covers of its extent, (H, W), the longer side `RASTER` pixels."""
        left, top, width, height = arrangement.extent
        scale = RASTER / max(width, height)
        shape = tuple(max(1, round(side * scale)) for side in (height, width))
        covered = torch.zeros(shape)
        for sprite in arrangement.sprites:
            x, y = round((sprite.frame[0] - left) * scale), round((sprite.frame[1] - top) * scale)
            w, h = (max(1, round(side * scale)) for side in sprite.frame[2:])
            x, y = min(x, shape[1] - 1), min(y, shape[0] - 1)
            own = F.interpolate(self.cutouts[sprite.thing].opacity[None, None], (h, w), mode="area")[0, 0]
            part = covered[y : y + h, x : x + w]
            part.copy_(torch.maximum(part, own[: part.shape[0], : part.shape[1]]))
        return covered > 0.5


def _framed(sprites: tuple[Sprite, ...]) -> Arrangement:
    """With a square frame around all."""
    inside = Arrangement(sprites, (0.0, 0.0, 1.0, 1.0))
    left, top, width, height = inside.extent
    side = max(width, height) * (1 + 2 * MARGIN)
    return Arrangement(sprites, (left + (width - side) / 2, top + (height - side) / 2, side, side))
