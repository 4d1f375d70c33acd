"""Cutting pictures into the squares that a perceptor judges.

A cutter takes (B, 3, H, W) in [0, 1] and gives the cutouts of all pictures in one tensor (B * n, 3, s, s), those
of picture 0 first, so that the perceptor runs once. `progress` in [0, 1] is how far the run is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names
from lienzo.core.values import parse_value
from lienzo.guidance.augment import Augment, grayscale
from lienzo.guidance.draws import Generators, per_picture
from lienzo.guidance.options import GuidanceOptions

CUTOUTS = Names(
    "cutouts",
    {
        "random": "lienzo.guidance.cutouts:RandomCutouts",
        "disco": "lienzo.guidance.cutouts:DiscoCutouts",
        "whole": "lienzo.guidance.cutouts:WholeCutouts",
        "paper": "lienzo.guidance.cutouts:PaperCutouts",
    },
)


class Cutter(Protocol):
    """Made from (size, options); see the top of this file."""

    def __call__(self, picture: Tensor, progress: float = 0.0, generators: Generators = None) -> Tensor: ...


def crops(
    picture: Tensor, boxes: Callable[[torch.Generator | None], Tensor], size: int, generators: Generators = None
) -> Tensor:
    """Crops of `picture`, averaged down (or repeated up) to (B, n, 3, size, size).

    Args:
        boxes: draws (n, 4) boxes (x, y, width, height) from one generator; called once for each picture that has
            a generator of its own, else once for all.
    """
    own = per_picture(generators, len(picture))
    if own is None:
        shared = generators if isinstance(generators, torch.Generator) else None
        return _crop(picture, boxes(shared), size)
    return torch.cat([_crop(picture[i : i + 1], boxes(generator), size) for i, generator in enumerate(own)])


def _crop(picture: Tensor, boxes: Tensor, size: int) -> Tensor:
    pieces = (picture[:, :, y : y + h, x : x + w] for x, y, w, h in boxes.tolist())
    return torch.stack([F.adaptive_avg_pool2d(piece, size) for piece in pieces], 1)


class RandomCutouts:
    """clip-diffusion-art's squares: mostly large, anywhere in the picture framed in black; the last ones all of it.

    With `skip_augs` and no generators it repeats the original bit for bit from `torch.manual_seed`; all pictures
    then share their boxes. With one generator a picture, each has its own.
    """

    def __init__(self, size: int, options: GuidanceOptions):
        self.size = size
        self.cutn = options.cutn
        self.augment = None if options.skip_augs else Augment()

    def __call__(self, picture: Tensor, progress: float = 0.0, generators: Generators = None) -> Tensor:
        framed = F.pad(picture, [picture.shape[2] // 4] * 4)
        height, width = framed.shape[2:]
        cuts = crops(framed, partial(random_boxes, self.cutn, height, width, self.size), self.size, generators)
        return _augmented(cuts, self.augment, len(picture), generators)


def random_boxes(n: int, height: int, width: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Squares as (x, y, width, height): int64 (n, 4).

    The side is the shorter one of the picture times a draw of N(0.8, 0.3), no smaller than `size` where the
    picture allows that; the last n // 4 - 1 boxes are the whole picture.
    """
    most = min(height, width)
    boxes = []
    for _ in range(n - max(n // 4 - 1, 0)):
        share = torch.zeros(1).normal_(0.8, 0.3, generator=generator).clip(size / most, 1.0)
        side = int(most * share)
        x = int(torch.randint(0, width - side + 1, (), generator=generator))
        y = int(torch.randint(0, height - side + 1, (), generator=generator))
        boxes.append((x, y, side, side))
    return torch.tensor(boxes + [(0, 0, width, height)] * (n - len(boxes)))


class DiscoCutouts:
    """disco-diffusion's overviews (the picture padded to a square) and inner crops, with schedules over the run.

    The overviews are the picture, the same in grey, mirrored, and mirrored in grey. Past four they begin again a
    little further away each time, so that none repeats. Of n inner crops exactly round(p * n) are grey: the random
    changes, which are those of `RandomCutouts`, do not turn more of them grey.
    """

    def __init__(self, size: int, options: GuidanceOptions):
        self.size = size
        self.overview = parse_value(options.cut_overview)
        self.innercut = parse_value(options.cut_innercut)
        self.power = parse_value(options.cut_ic_pow)
        self.gray = parse_value(options.cut_icgray_p)
        self.augment = None if options.skip_augs else Augment(gray=0.0)

    def __call__(self, picture: Tensor, progress: float = 0.0, generators: Generators = None) -> Tensor:
        outer, inner = (max(int(value.at(progress)), 0) for value in (self.overview, self.innercut))
        if outer + inner == 0:
            raise BadInput("Both cut_overview and cut_innercut are 0 at some point; give at least one cutout.")
        cuts = [overviews(picture, outer, self.size)] if outer else []
        if inner:
            height, width = picture.shape[2:]
            boxes = partial(inner_boxes, inner, height, width, self.size, self.power.at(progress))
            crop = crops(picture, boxes, self.size, generators)  # (B, inner, 3, s, s)
            grays = round(min(max(self.gray.at(progress), 0.0), 1.0) * inner)
            cuts += [_gray_all(crop[:, :grays]), crop[:, grays:]]
        return _augmented(torch.cat(cuts, 1), self.augment, len(picture), generators)


def overviews(picture: Tensor, n: int, size: int) -> Tensor:
    """The n overviews of `DiscoCutouts`: (B, n, 3, size, size)."""
    h, w = picture.shape[2:]
    side = max(h, w)
    views: list[Tensor] = []
    for i in range(n):
        if i % 4 == 0:
            margin = side * (i // 4) // 8
            x, y = (side - w) // 2 + margin, (side - h) // 2 + margin
            full = side + 2 * margin
            framed = F.pad(picture, (x, full - w - x, y, full - h - y))
            plain = F.interpolate(framed, (size, size), mode="bicubic", antialias=True)
        view = plain.flip(-1) if i % 4 >= 2 else plain
        views.append(grayscale(view) if i % 2 else view)
    return torch.stack(views, 1)


def inner_boxes(
    n: int, height: int, width: int, size: int, power: float, generator: torch.Generator | None = None
) -> Tensor:
    """Squares as (x, y, width, height), int64 (n, 4), with sides from `size` (if it fits) to the shorter side."""
    most = min(height, width)
    least = min(most, size)
    boxes = []
    for _ in range(n):
        side = int(float(torch.rand((), generator=generator)) ** power * (most - least) + least)
        x = int(torch.randint(0, width - side + 1, (), generator=generator))
        y = int(torch.randint(0, height - side + 1, (), generator=generator))
        boxes.append((x, y, side, side))
    return torch.tensor(boxes)


class WholeCutouts:
    """VQGAN-CLIP's "latest" cutouts: the whole picture, pooled by mean and maximum, changed in n random ways."""

    def __init__(self, size: int, options: GuidanceOptions):
        self.size = size
        self.cutn = 1 if options.skip_augs else options.cutn
        self.augment = None if options.skip_augs else Augment(noise=0.1)

    def __call__(self, picture: Tensor, progress: float = 0.0, generators: Generators = None) -> Tensor:
        pooled = (F.adaptive_avg_pool2d(picture, self.size) + F.adaptive_max_pool2d(picture, self.size)) / 2
        cuts = pooled[:, None].expand(-1, self.cutn, -1, -1, -1)
        return _augmented(cuts, self.augment, len(picture), generators)


class PaperCutouts:
    """The whole picture, averaged down, seen from n sides; its borders go on beyond it.

    A picture that is turned, shifted and tilted shows what lies around it. Where that is black, part of the gradient
    goes into getting along with a black frame; drawings lie on paper. In colours only, as colours are what is asked
    for first. Longer sides are not squeezed: the shorter ones go on to a square.
    """

    def __init__(self, size: int, options: GuidanceOptions):
        self.size = size
        self.cutn = 1 if options.skip_augs else options.cutn
        self.augment = None if options.skip_augs else Augment(gray=0.0, edge="border")

    def __call__(self, picture: Tensor, progress: float = 0.0, generators: Generators = None) -> Tensor:
        height, width = picture.shape[2:]
        side = max(height, width)
        # Each look begins a little elsewhere within the pixels that are averaged; else these would show as blocks.
        reach = 0 if self.augment is None else -(-side // self.size) - 1
        x, y = (side + reach - width) // 2, (side + reach - height) // 2
        framed = F.pad(picture, (x, side + reach - width - x, y, side + reach - height - y), "replicate")
        cuts = crops(framed, partial(shifted_boxes, self.cutn, side, reach), self.size, generators)
        return _augmented(cuts, self.augment, len(picture), generators)


def shifted_boxes(n: int, side: int, reach: int, generator: torch.Generator | None = None) -> Tensor:
    """Squares of `side` as (x, y, width, height), int64 (n, 4), whose corners lie up to `reach` pixels from 0."""
    corners = torch.randint(reach + 1, (n, 2), generator=generator)
    return torch.cat([corners, torch.full((n, 2), side)], 1)


def _gray_all(cuts: Tensor) -> Tensor:
    return grayscale(cuts.flatten(0, 1)).view(cuts.shape) if cuts.shape[1] else cuts


def _augmented(cuts: Tensor, augment: Augment | None, batch: int, generators: Generators) -> Tensor:
    flat = cuts.flatten(0, 1)
    return flat if augment is None else augment(flat, batch, generators)
