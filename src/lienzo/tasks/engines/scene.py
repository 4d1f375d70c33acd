"""Scenes: each thing of a sentence is drawn by itself, in a place of its own, and all are put in one picture.

The layout comes from the sentence, and where things touch from the outlines of the drawings, not from a network; so a
painter that knows single things draws several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.seeds import derived_seed
from lienzo.data.lexicon import to_english
from lienzo.data.phrases import bare, find_colour
from lienzo.data.told_scenes import Apart, Box, Part, Thing, ToldScene, Touching, told_scene, worn_where
from lienzo.data.word_forms import base_forms
from lienzo.tasks.engines.arranging import Arrangement, arranged
from lienzo.tasks.engines.backdrops import FEET, backdrop
from lienzo.tasks.engines.base import Engine, Latents, Model, Wish
from lienzo.tasks.engines.cutouts import Cutout, cut_out
from lienzo.tasks.engines.painter import PainterEngine

LARGER = 2  # a scene has more pixels a side than a drawing, so that half of it still holds a whole drawing
ROOMY = 0.5  # of the side: what has so much of a plain scene is drawn clearly enough without them
FORM = 0.8  # likeness from which on a guessed form of a word is believed
BETTER = 0.06  # likeness by which another form of a word must be ahead of the one that was said
IN_SETTING = (0.9, 0.74)  # of the width and the height, for things before a backdrop
SURE = 0.9  # likeness from which on a name is meant
CLEARER = {"hat": "top hat", "bow and arrow": "tie"}  # no "bow tie" is remembered, but what "tie" brings is one
FACED = ("head", "ears", "eyes", "throat", "neck")  # what is worn where a face shows it best


class SceneEngine:
    """Paints a scene with a painter of single things on white.

    Its latents are the painter's, one for each thing: (B, things, ...). What is told by the same words, such as each of
    "three cats", is drawn once.

    Args:
        painter: draws the things.
        scene: the things and their places.
    """

    conditional = True
    previews = 0

    def __init__(self, painter: PainterEngine, scene: ToldScene):
        self.painter, self.scene, self.model = painter, scene, painter.model
        names = Namer(painter).names(scene)
        self.things = list(dict.fromkeys(names))
        self.drawn_as = [self.things.index(name) for name in names]
        self.size, self.steps, self.sampler, self.models = painter.size, painter.steps, painter.sampler, painter.models
        self.styles = painter.styles
        shape = (len(self.things), *painter.latents.shape)
        self.latents = Latents(shape, self._decode, None, self._finish)

    def sigmas(self, steps: int) -> Tensor:
        """The painter's."""
        return self.painter.sigmas(steps)

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        wishes = self._wishes(wish)
        manners = self.painter.manners(wishes, count)
        models = [self.painter.in_manners(own, manners, guidance) for own in wishes]

        def denoised(x: Tensor, sigma: Tensor) -> Tensor:
            return torch.stack([model(x[:, i], sigma) for i, model in enumerate(models)], 1)

        return denoised

    def remembered(self, wish: Wish) -> list[str]:
        """What the things of a picture are painted from."""
        wishes = self._wishes(wish)
        manners = self.painter.manners(wishes, 1)
        return [name for own in wishes for name in self.painter.remembered_in(own, manners)]

    def strange(self, wish: Wish) -> list[str]:
        """The things that the painter does not remember."""
        return [name for own in self._wishes(wish) for name in self.painter.strange(own)]

    def drawings(self, latents: Tensor, wish: Wish) -> list[Tensor]:
        """Each thing of the scene on a sheet of its own, (B, 3, S, S) in [-1, 1].

        Things that touch stand straight; of several that are told by one word each has a pose of its own.
        """
        wishes = self._wishes(wish)
        manners = self.painter.manners(wishes, len(latents))
        straight = wish.upright or _touches(self.scene.layout)
        found = []
        for i, drawn in enumerate(self.drawn_as):
            again = drawn in self.drawn_as[:i]
            seeds = tuple(derived_seed(seed, "thing", i) for seed in wish.seeds) if again else wish.seeds
            posed = replace(wishes[drawn], upright=straight, seeds=seeds)
            found.append(self.painter.finished(latents[:, drawn], posed, manners))
        return found

    def _wishes(self, wish: Wish) -> list[Wish]:
        return [replace(wish, subjects=((thing, 1.0),)) for thing in self.things]

    def _decode(self, latents: Tensor) -> Tensor:
        """A rough look, without cutting out."""
        return self.composed([self.painter.latents.decode(latents[:, i]) for i in self.drawn_as], 1)

    def _finish(self, latents: Tensor, wish: Wish) -> Tensor:
        return self.composed(self.drawings(latents, wish))

    def composed(self, drawings: list[Tensor], larger: int | None = None) -> Tensor:
        """Drawings (B, 3, S, S) of the things in their places, (B, 3, larger * S, larger * S) in [-1, 1].

        By default, two to four things beside each other on white get the size of a drawing, and all else `LARGER`.
        """
        plain = self.scene.setting is None and not _touches(self.scene.layout)
        roomy = plain and isinstance(self.scene.layout, Apart) and _smallest(self.scene.layout) >= ROOMY
        size = (larger or (1 if roomy else LARGER)) * drawings[0].shape[-1]
        pictures = []
        for own in zip(*drawings, strict=True):
            cutouts = [cut_out(drawing.detach().cpu()) for drawing in own]
            pictures.append(self._beside(own, cutouts, size) if plain else self._painted(cutouts, size))
        return torch.stack(pictures).to(drawings[0].device)

    def arrangement(self, cutouts: list[Cutout]) -> Arrangement:
        """Where each thing is on the whole sheet."""
        whole = arranged(self.scene.layout, cutouts)
        setting = self.scene.setting
        if setting is None:
            return whole.into((0.0, 0.0, 1.0, 1.0))
        whole = replace(whole, frame=whole.extent)
        wide, high = IN_SETTING
        whole = whole.into(((1 - wide) / 2, (1 - high) / 2, wide, high))
        if setting.floating:
            return whole
        return whole.put(x=0.5, y=FEET, at=(0.5, 1.0))

    def _beside(self, drawings: Sequence[Tensor], cutouts: list[Cutout], size: int) -> Tensor:
        """Things that do not touch, on white: their sheets darken what they cover, so that no pale line is lost."""
        picture = torch.ones(3, size, size)
        for sprite in self.arrangement(cutouts).sprites:
            left, top, width, height = cutouts[sprite.thing].box
            scale = max(sprite.frame[2] / width, sprite.frame[3] / height)
            sheet = (sprite.frame[0] - left * scale, sprite.frame[1] - top * scale, scale, scale)
            ink = on_sheet((1 - drawings[sprite.thing].detach().cpu()) / 2, sheet, size)
            picture = torch.minimum(picture, 1 - ink)
        return (picture * 2 - 1).clamp(-1, 1)

    def _painted(self, cutouts: list[Cutout], size: int) -> Tensor:
        setting = self.scene.setting
        picture = torch.ones(3, size, size) if setting is None else backdrop(setting, size)
        for sprite in self.arrangement(cutouts).sprites:
            layer = on_sheet(cutouts[sprite.thing].layer, sprite.frame, size)
            picture = layer[:3] + picture * (1 - layer[3])
        return (picture * 2 - 1).clamp(-1, 1)


class Namer:
    """Finds the words by which a painter knows things.

    Args:
        painter: whose memory holds names; one without a memory is told things as they were said.
    """

    def __init__(self, painter: PainterEngine):
        self.painter = painter

    def names(self, scene: ToldScene) -> list[str]:
        """What the painter is told of each thing of a scene."""
        return self._names(scene.layout, False)

    def nearest(self, text: str) -> tuple[str, float]:
        """The remembered name that a text, without its colour, is likest to, and how like."""
        return self._nearest(find_colour(text)[0])

    def in_any_form(self, text: str) -> float:
        """How like the likest form of a text is."""
        forms = {*base_forms(text), *base_forms(text, many=True)} - {text}
        best = max((self.nearest(form)[1] for form in forms), default=0.0)
        said = self.nearest(text)[1]
        return max(best, said) if best >= FORM else said

    def _names(self, part: Part, wearing: bool) -> list[str]:
        if isinstance(part, Thing):
            name = self.known_as(part)
            return [self.face_of(name) if wearing else name]
        if isinstance(part, Apart):
            return [name for own in part.parts for name in self._names(own, wearing)]
        shown = part.relation == "wearing" and isinstance(part.second, Thing) and worn_where(part.second.text) in FACED
        second = self._names(part.second, False)
        if part.relation == "wearing":
            second = [self.clearer(name) for name in second]
        return [*self._names(part.first, wearing or shown), *second]

    def clearer(self, name: str) -> str:
        """A worn thing by the name of its kind that is drawn most clearly."""
        rest, colour = find_colour(name)
        clear = CLEARER.get(self._nearest(rest)[0], "")
        return name if not clear else f"{colour} {clear}" if colour else clear

    def known_as(self, thing: Thing) -> str:
        """A thing in the form that the memory knows best: "cat" for one of "cats"."""
        if self.painter.model.memory is None:
            return thing.text
        forms = base_forms(thing.text, many=thing.many)
        likeness = [self.nearest(form)[1] for form in forms]
        best = max(range(len(forms)), key=likeness.__getitem__)
        ahead = likeness[best] - likeness[-1]
        return forms[best] if likeness[best] >= FORM and ahead >= (0.0 if thing.many else BETTER) else thing.text

    def face_of(self, name: str) -> str:
        """The face of an animal whose face is remembered too."""
        rest, colour = find_colour(name)
        best, likeness = self._nearest(rest)
        memory = self.painter.model.memory
        if memory is None or likeness < SURE or f"{best} face" not in memory.names:
            return name
        return f"{colour} {best} face" if colour else f"{best} face"

    @lru_cache(maxsize=512)  # noqa: B019  it lives no longer than the reading of a sentence
    def _nearest(self, text: str) -> tuple[str, float]:
        """The same for a text in which a colour is only a word."""
        memory = self.painter.model.memory
        if memory is None:
            return "", 1.0
        said = list(dict.fromkeys((bare(text), bare(to_english(text)))))
        for name in said:  # its translations draw a name's direction away from its own words
            if name in memory.names:
                return name, 1.0
        likeness = memory.likeness(self.painter.read(said)).amax(0)
        best = int(likeness.argmax())
        return memory.names[int(memory.name[best])], float(likeness[best])


def composed(engine: Engine, wish: Wish) -> Engine:
    """The engine that paints the wish: one for a scene where the wish tells of one and the engine draws single things
    on white, else the engine itself."""
    if not isinstance(engine, PainterEngine) or not engine.on_white or len(wish.subjects) != 1:
        return engine
    remembers = engine.model.memory is not None
    scene = told_scene(wish.subjects[0][0], Namer(engine) if remembers else None)
    return engine if scene is None else SceneEngine(engine, scene)


def on_sheet(layer: Tensor, frame: tuple[float, float, float, float], size: int) -> Tensor:
    """A layer (4, h, w) made to fit a frame on an empty sheet (4, size, size); what is beyond the sheet is lost."""
    left, top, width, height = (round(side * size) for side in frame)
    small = F.interpolate(layer[None], (max(1, height), max(1, width)), mode="bilinear", antialias=True)[0]
    return F.pad(small, (left, size - left - small.shape[2], top, size - top - small.shape[1]))


def placed(picture: Tensor, box: Box) -> Tensor:
    """A picture (B, 3, S, S) in [-1, 1], made small, in its place on white of the same size."""
    size = picture.shape[-1]
    left, top, side = (round(share * size) for share in box)
    left, top = min(left, size - side), min(top, size - side)
    small = F.interpolate(picture, (side, side), mode="bilinear", antialias=True)
    return F.pad(small, (left, size - side - left, top, size - side - top), value=1.0)


def _smallest(part: Part, side: float = 1.0) -> float:
    """The side of the smallest place in parts that stand apart, in a square of a side."""
    if not isinstance(part, Apart):
        return side
    return min(_smallest(own, side * box[2]) for own, box in zip(part.parts, part.boxes, strict=True))


def _touches(part: Part) -> bool:
    if isinstance(part, Apart):
        return any(map(_touches, part.parts))
    return isinstance(part, Touching)
