"""Scenes: each thing of a sentence is drawn by itself, in a place of its own, and all are put in one picture.

The layout comes from the sentence and not from a network; so a painter that knows single things draws several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.data.told_scenes import Box, ToldScene, told_scene
from lienzo.tasks.engines.base import Engine, Latents, Model, Wish
from lienzo.tasks.engines.painter import PainterEngine


class SceneEngine:
    """Paints a scene with a painter of single things on white.

    Its latents are the painter's, one for each thing: (B, things, ...).

    Args:
        painter: draws the things.
        scene: the things and their places.
    """

    conditional = True
    previews = 0

    def __init__(self, painter: PainterEngine, scene: ToldScene):
        self.painter, self.scene = painter, scene
        self.size, self.steps, self.sampler, self.models = painter.size, painter.steps, painter.sampler, painter.models
        self.styles = painter.styles
        shape = (len(scene.things), *painter.latents.shape)
        self.latents = Latents(shape, lambda x: self._together(x, self._decoded), None, self._finish)

    def sigmas(self, steps: int) -> Tensor:
        """The painter's."""
        return self.painter.sigmas(steps)

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        manners = self.painter.manners(self._wishes(wish), count)
        models = [self.painter.in_manners(own, manners, guidance) for own in self._wishes(wish)]

        def denoised(x: Tensor, sigma: Tensor) -> Tensor:
            return torch.stack([model(x[:, i], sigma) for i, model in enumerate(models)], 1)

        return denoised

    def remembered(self, wish: Wish) -> list[str]:
        """What the things of a picture are painted from."""
        wishes = self._wishes(wish)
        manners = self.painter.manners(wishes, 1)
        return [name for own in wishes for name in self.painter.remembered_in(own, manners)]

    def _wishes(self, wish: Wish) -> list[Wish]:
        return [replace(wish, subjects=((thing, 1.0),)) for thing in self.scene.things]

    def _decoded(self, latents: Tensor, thing: int) -> Tensor:
        return self.painter.latents.decode(latents)

    def _finish(self, latents: Tensor, wish: Wish) -> Tensor:
        wishes = self._wishes(wish)
        manners = self.painter.manners(wishes, len(latents))
        return self._together(latents, lambda x, i: self.painter.finished(x, wishes[i], manners)).clamp(-1, 1)

    def _together(self, latents: Tensor, draw: Callable[[Tensor, int], Tensor]) -> Tensor:
        """The things in their places; drawings on white darken what they cover, so that white is clear."""
        pictures = [draw(latents[:, i], i) for i in range(len(self.scene.things))]
        whole = torch.ones_like(pictures[0])
        for picture, box in zip(pictures, self.scene.boxes, strict=True):
            whole = torch.minimum(whole, placed(picture, box))
        return whole


def composed(engine: Engine, wish: Wish) -> Engine:
    """The engine that paints the wish: one for a scene where the wish tells of several things and the engine draws
    single ones on white, else the engine itself."""
    if not isinstance(engine, PainterEngine) or not engine.on_white or len(wish.subjects) != 1:
        return engine
    scene = told_scene(wish.subjects[0][0])
    return engine if scene is None else SceneEngine(engine, scene)


def placed(picture: Tensor, box: Box) -> Tensor:
    """A picture (B, 3, S, S) in [-1, 1], made small, in its place on white of the same size."""
    size = picture.shape[-1]
    left, top, side = (round(share * size) for share in box)
    left, top = min(left, size - side), min(top, size - side)
    small = F.interpolate(picture, (side, side), mode="bilinear", antialias=True)
    return F.pad(small, (left, size - side - left, top, size - side - top), value=1.0)
