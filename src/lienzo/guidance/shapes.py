"""A first picture of a few soft shapes on paper, found by trial: what a painting may begin from.

From grey, gradients first decide the colours of textures, and a thing that was begun in five places stays in five.
A handful of coloured ellipses that is roughly right as a whole costs fewer looks than the steps that it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lienzo.guidance.cutouts import WholeCutouts
from lienzo.guidance.distances import DISTANCES
from lienzo.guidance.guide import Guide, View
from lienzo.guidance.ops import resample

SIDE = 64  # pixels of the shorter side at which trials are looked at
BATCH = 32  # trials looked at together
FIRST = 4 * BATCH  # trials drawn at random, before any is varied
ROUNDS, BEST = 6, 4  # rounds of `BATCH` variations, and how many of the best are varied in each
STRAY, ANEW = 0.15, 0.1  # standard deviation of a variation; share of its numbers that are drawn again
RADII = (0.38, 0.25, 0.15)  # largest radius of each shape as a share of the shorter side; later ones lie on top
SOFT = 0.015  # softness of the edges, likewise
LINE = 0.05  # width of outlines, likewise
TINTED, TINT = 0.3, 0.25  # share of the trials on tinted paper, and how strong a tint may be
NUMBERS = 8  # of a shape: place (2), radii (2), angle, colour (3)

Score = Callable[[Tensor], Tensor]
"""Pictures (N, 3, H, W) in [0, 1] to a loss of each, (N,)."""


@dataclass(frozen=True)
class Shapes:
    """Trials: numbers in [0, 1] of their shapes (N, S, 8), and of their papers (N, 4): colour, and whether tinted."""

    shapes: Tensor
    papers: Tensor

    @classmethod
    def drawn(cls, count: int, generator: torch.Generator) -> Shapes:
        """Trials at random."""
        shapes = torch.rand(count, len(RADII), NUMBERS, generator=generator)
        return cls(shapes, torch.rand(count, 4, generator=generator))

    def __getitem__(self, rows: Tensor) -> Shapes:
        return Shapes(self.shapes[rows], self.papers[rows])

    def varied(self, count: int, generator: torch.Generator) -> Shapes:
        """`count` variations of these, on their papers."""
        rows = torch.arange(count) % len(self.shapes)
        shapes = self.shapes[rows]
        shapes = (shapes + STRAY * torch.randn(shapes.shape, generator=generator)).clamp(0, 1)
        fresh = torch.rand(shapes.shape, generator=generator) < ANEW
        again = torch.rand(shapes.shape, generator=generator)
        return Shapes(torch.where(fresh, again, shapes), self.papers[rows])

    def render(self, height: int, width: int, lines: bool = False, under: Tensor | None = None) -> Tensor:
        """(N, 3, height, width) in [0, 1]; with `lines` black outlines. They lie on paper, or on a picture `under`."""
        shorter = min(height, width)
        ys, xs = ((torch.arange(n) + 0.5 - n / 2) / shorter for n in (height, width))
        spread = torch.tensor([width, height]) / shorter
        tint = TINT * (self.papers[:, 3:] < TINTED) * (not lines)
        paper = (1 - tint * self.papers[:, :3])[..., None, None]
        if under is not None:
            paper = resample(under, (height, width), align_corners=False).clamp(0, 1)
        picture = paper.expand(len(self.shapes), -1, height, width)
        for index, radius in enumerate(RADII):
            x, y, wide, tall, turn, *colour = self.shapes[:, index, :, None, None].unbind(1)
            reach = 0.3 if index == 0 else 0.6  # the largest shape lies near the middle
            dx, dy = xs - reach * spread[0] * (x - 0.5), ys[:, None] - reach * spread[1] * (y - 0.5)
            wide, tall = (radius * (0.35 + 0.65 * size) for size in (wide, tall))
            cos, sin = (torch.pi * turn).cos(), (torch.pi * turn).sin()
            away = (((dx * cos + dy * sin) / wide).square() + ((dy * cos - dx * sin) / tall).square() + 1e-6).sqrt()
            inward = (1 - away) * torch.minimum(wide, tall)  # about the distance to the edge
            cover = (inward / SOFT).sigmoid()[:, None]  # (N, 1, H, W)
            ink = ((torch.stack(colour, 1) - 0.5) * 1.4 + 0.5).clamp(0, 1)  # strong colours as often as dull ones
            picture = torch.lerp(picture, torch.ones_like(ink) if lines else ink, cover)
            if lines:
                picture = picture * (1 - ((LINE / 2 - inward.abs()) / SOFT).sigmoid()[:, None])
        return picture


def found_shapes(
    score: Score,
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    lines: bool = False,
    under: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The best of some hundreds of trials: first at random, then variations of the best.

    Args:
        score: what to make small.
        height, width: of the picture.
        generator: where trials are drawn, on the CPU.
        lines: black outlines on white paper in place of colours.
        under: (1, 3, H, W) in [0, 1] of any size, on the CPU, what the shapes are laid on in place of paper.
        device: where `score` takes pictures.

    Returns:
        (1, 3, height, width) in [0, 1], on the CPU.
    """
    rows, columns = (max(round(side * SIDE / min(height, width)), 1) for side in (height, width))

    def losses(trials: Shapes) -> Tensor:
        with torch.no_grad():
            groups = torch.arange(len(trials.shapes)).split(BATCH)
            seen = [score(trials[group].render(rows, columns, lines, under).to(device)).cpu() for group in groups]
            return torch.cat(seen).nan_to_num(torch.inf, torch.inf)  # what is not finite is never the best

    best = Shapes.drawn(FIRST, generator)
    loss = losses(best)
    for _ in range(ROUNDS):
        kept = loss.topk(BEST, largest=False).indices
        best, loss = best[kept], loss[kept]
        more = best.varied(BATCH, generator)
        best = Shapes(torch.cat([best.shapes, more.shapes]), torch.cat([best.papers, more.papers]))
        loss = torch.cat([loss, losses(more)])
    return best[loss.argmin()[None]].render(height, width, lines, under)


def looks_of(guide: Guide) -> Score:
    """How far whole pictures, unchanged, are from the prompts of a guide."""
    plain = guide.options.model_copy(update={"skip_augs": True})
    distance = DISTANCES.load(plain.distance)
    targets = [replace(target, cutter=WholeCutouts(target.perceptor.size, plain), veil=0.0) for target in guide.targets]

    def score(pictures: Tensor) -> Tensor:
        view = View(pictures * 2 - 1, pictures * 2 - 1)
        return torch.stack([target.loss(view, distance, None) for target in targets]).sum(0)

    return score
