"""The painter of a walk's frames: wishes and noise between two places, and the recipe of each frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Picture
from lienzo.nn.noise import PictureNoise, WalkNoise
from lienzo.tasks.create import Create
from lienzo.tasks.easel import Easel, open_easel, wish_for
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.walk import PLACES, Walk, WalkFrame, check_places, places, position

WAY = ("prompts", "seed", "frames", "loop")  # options that decide the places and the way between them
OUTSIDE = ("fps", "out", "ping_pong", "restart", "previews", "metadata", "device")  # those that change no frame


class Walker:
    """A generator of `create` that paints between places.

    Args:
        options: of the walk.

    Raises:
        BadInput: the model cannot walk, or something does not fit it.
    """

    def __init__(self, options: Walk):
        self.options, self.places = options, places(options)
        given = {name: getattr(options, name) for name in options.model_fields_set if name not in PLACES}
        first = {"prompt": self.places[0][0], "seed": self.places[0][1], "compose": False, "upright": True}
        self.create = Create.make(**{**given, **first})
        easel = open_easel(self.create)
        if not isinstance(easel, Easel) or not getattr(easel.engine, "walks", False):
            raise BadInput("This model has no way between sentences; walk with the painter or a Stable Diffusion.")
        self.easel: Easel = easel
        self.notes = easel.notes
        texts = dict.fromkeys(text for text, _ in self.places)
        self.wishes = {text: wish_for(easel.engine, self.create.model_copy(update={"prompt": text})) for text in texts}

    def wish(self, frame: int) -> Wish:
        """What a frame should show."""
        leg, share = position(self.options, frame)
        here, there = (
            replace(self.wishes[text], seeds=(seed,)) for text, seed in (self.places[leg], self.places[leg + 1])
        )
        if share in (0, 1) or here == there:
            return there if share == 1 else here
        return replace(here, toward=(there, share), filter=here.filter if share < 0.5 else there.filter)

    def frame(self, frame: int) -> np.ndarray:
        """A frame, uint8 (H, W, 3); at a place it is the picture that `create --upright` makes."""
        leg, share = position(self.options, frame)
        seeds = [self.places[place][1] for place in (leg, leg + 1)]
        device = self.easel.device
        noise = WalkNoise(PictureNoise(seeds[:1], device), PictureNoise(seeds[1:], device), share)
        if seeds[0] == seeds[1]:
            noise = WalkNoise(PictureNoise(seeds[:1], device), PictureNoise(seeds[:1], device), 0.0)
        near = seeds[share >= 0.5]
        self.easel.wish = self.wish(frame)
        painting = self.easel.paint_with([near], self.easel.wish, noise)
        while True:
            try:
                next(painting)
            except StopIteration as end:
                picture: torch.Tensor = end.value
                break
        finished = self.easel.complete(0, near, 0.0, picture[0])
        return next(event.image for event in finished if isinstance(event, Picture))

    def remarks(self) -> Iterator[Event]:
        """What the person should know after it is done."""
        return self.easel.remarks()

    def recipe(self, frame: int) -> dict[str, Any]:
        """What makes a frame again: as a recipe of `create`, with the way and the frame's number on it."""
        leg, share = position(self.options, frame)
        text, seed = self.places[leg + (share >= 0.5)]  # of the nearer place
        wish = self.wish(frame)
        there = set(type(self.options).model_fields) - {*OUTSIDE, *WAY}
        options = {name: value for name, value in self.made["options"].items() if name in there}
        options |= self.options.model_dump(mode="json", include=set(WAY)) | {"frame": frame}
        own = {"prompt": text, "seed": seed, "style": wish.style, "filter": wish.filter, "options": options}
        return {**self.made, **own, "task": "walk", "frame": frame}

    @cached_property
    def made(self) -> dict[str, Any]:
        """The recipe of the first place; large files are read once for their digests, not for every frame."""
        made = self.easel.recipe(self.places[0][1])
        made.pop("remembered", None)  # of the first place alone
        return made

    def plan(self) -> dict[str, Any]:
        """What decides the frames, as JSON has it."""
        made = {name: self.made[name] for name in ("options", "models", "inputs", "behaviour")}
        made["options"] = {name: made["options"][name] for name in made["options"] if name not in ("prompt", "seed")}
        way = {"prompts": self.options.prompts, "seed": self.options.seed, "frames": self.options.frames}
        made["motion"] = {**way, "loop": self.options.loop}
        return json.loads(json.dumps(made))


class FrameMaker:
    """Makes one frame of a walk again.

    Args:
        options: of the walk, and the frame's number.

    Raises:
        BadInput: the way has no such frame, or the model cannot walk.
    """

    def __init__(self, options: WalkFrame):
        check_places(options)
        if options.frame >= options.frames:
            raise BadInput(f"A walk of {options.frames} frames has no frame {options.frame}; they count from 0.")
        self.frame, self.walker = options.frame, Walker(options)

    def recipe(self, seed: object) -> dict[str, Any]:
        """The frame's recipe; its seeds are those of the way, whatever `seed` is."""
        return self.walker.recipe(self.frame)

    def pictures(self) -> Iterator[Event]:
        """Yields the frame as a Picture, then what the person should know."""
        recipe = self.walker.recipe(self.frame)
        yield Picture(self.frame, recipe["seed"], self.walker.frame(self.frame), recipe=recipe)
        yield from self.walker.remarks()
