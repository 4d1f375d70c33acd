"""What every generator shares in one `create`: candidates and the CLIPs that choose, upscaler, filter, recipe."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lienzo import __version__
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Picture, Preview, Progress
from lienzo.core.seeds import derived_seed
from lienzo.imaging.filters import FILTERS
from lienzo.imaging.resize import resize_array
from lienzo.tasks.create import Create, seeds_of
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.perceptors import Judges, open_perceptors
from lienzo.tasks.upscalers import Upscaler, open_upscaler
from lienzo.weights.store import resolve, sha256

BEHAVIOUR = 4  # rises when the same recipe would make another picture
OUTSIDE = ("out", "overwrite", "previews", "metadata", "n", "device")  # options that do not change a picture


@dataclass(frozen=True)
class Stroke:
    """A step of one batch.

    Attributes:
        index: of the step, from 0.
        total: steps of the batch.
        look: the first picture of the batch as it is now, uint8 (H, W, 3); None where it cannot be shown.
    """

    index: int
    total: int
    look: Callable[[], np.ndarray | None]


class Bench(ABC):
    """Where pictures are made: a generator says how a batch is painted, this does the rest.

    Args:
        options: what is asked for.
        wish: what the pictures should show.
        device: where to compute.

    Attributes:
        candidates: pictures tried for each one that is kept.
        size: side of the finished pictures, the longer one where they are not square; see `sides`.
        steps, sampler, guidance: as used; None where the generator has no such thing.
        previews: steps between previews, 0 for none.
        models: files of the models by their part in the work.
        notes: what the person should know before it begins.
        conditional: whether it reads prompts.
        network: the network that generates, without those that read words or decode.
    """

    size: int
    steps: int | None
    sampler: str
    guidance: float | None
    previews: int
    conditional: bool
    network: nn.Module

    def __init__(self, options: Create, wish: Wish, device: torch.device):
        self.options, self.wish, self.device = options, wish, device
        self.notes: list[str] = []
        self.candidates = options.candidates or 1
        self.judges = open_perceptors(options.clip, device) if options.clip else Judges([], device)
        self.upscaler: Upscaler | None = open_upscaler(options.upscaler, device)
        if self.upscaler is not None and self.upscaler.scale < 2:
            raise BadInput(f"'{self.upscaler.path.stem}' mends pictures and does not enlarge; see lienzo upscale.")
        self.models: dict[str, Path] = {f"clip {path.stem}": path for path in map(resolve, options.clip)}
        if self.upscaler is not None:
            self.models["upscaler"] = self.upscaler.path

    @abstractmethod
    def read(self, prompt: str) -> Wish:
        """A prompt as the generator reads it, with all else as in the options.

        Raises:
            BadInput: it cannot draw that.
        """

    @abstractmethod
    def paint(self, seeds: list[int], wish: Wish) -> Generator[Stroke, None, Tensor]:
        """Paint a batch, one picture a seed; returns them as (B, 3, H, W) in [-1, 1]."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The options as they were used, where the generator chose their values; `model` among them, without a path."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The generator's own files; those of what helps it are `models`."""

    @abstractmethod
    def digest(self) -> str:
        """What tells the generator's files from all others."""

    def sides(self) -> tuple[int, int]:
        """Height and width of the finished pictures."""
        return self.size, self.size

    def touched(self, picture: np.ndarray) -> np.ndarray:
        """A finished picture, uint8 (H, W, 3), with what the generator still does to it."""
        return picture

    def facts(self) -> dict[str, Any]:
        """What else the recipe says about the generator."""
        return {}

    def inputs(self) -> dict[str, Any]:
        """Digests of the pictures it starts from, by option."""
        return {}

    def remarks(self) -> Iterator[Event]:
        """What the person should know after it is done."""
        yield from ()

    def batches(self) -> Iterator[tuple[list[int], list[int]]]:
        """Indices and seeds of each batch; candidates of one picture follow one another."""
        tries = [(i, s if j == 0 else derived_seed(s, "candidate", j))
                 for i, s in enumerate(seeds_of(self.options)) for j in range(self.candidates)]  # fmt: skip
        for start in range(0, len(tries), self.options.batch):
            part = tries[start : start + self.options.batch]
            yield [i for i, _ in part], [s for _, s in part]

    def pictures(self) -> Iterator[Event]:
        """Paint everything: events of the sampling, then one finished Picture for each index."""
        best: dict[int, tuple[float, Tensor]] = {}
        left = dict.fromkeys(range(self.options.n), self.candidates)
        batches = list(self.batches())
        began = time.monotonic()
        seeds = seeds_of(self.options)
        for number, (indices, batch_seeds) in enumerate(batches):
            finished = yield from self._watched(batch_seeds, indices[0], (number, len(batches), began))
            scores = self.judges.score(finished, self.wish.in_style)
            for i, picture, score in zip(indices, finished, scores, strict=True):
                if i not in best or score > best[i][0]:
                    best[i] = (score, picture)
                left[i] -= 1
                if left[i] == 0:
                    yield from self.complete(i, seeds[i], *best.pop(i))
        yield from self.remarks()

    def _watched(self, seeds: list[int], index: int, place: tuple[int, int, float]) -> Generator[Event, None, Tensor]:
        """The events of a batch at a place (its number, how many there are, when the first began); its pictures."""
        number, count, began = place
        with closing(self.paint(seeds, self.wish)) as painting:
            while True:
                try:
                    stroke = next(painting)
                except StopIteration as end:
                    return end.value
                done = number * stroke.total + stroke.index + 1
                yield Progress("paint", done, count * stroke.total, time.monotonic() - began)
                if self.previews and (stroke.index + 1) % self.previews == 0:
                    image = stroke.look()
                    if image is not None:
                        yield Preview(index, stroke.index, image)

    def complete(self, index: int, seed: int, score: float, picture: Tensor) -> Iterator[Event]:
        """Enlarge, fit to size, filter; yields the Picture."""
        image = picture[None]
        height, width = self.sides()
        if self.upscaler is not None:
            while image.shape[-2] < height or image.shape[-1] < width:
                image = yield from self.upscaler.enlarge(image)
        array = self.touched(resize_array(to_bytes(image[0]), height, width))
        if self.wish.filter:
            array = FILTERS.load(self.wish.filter)(array, seed % 2**32)
        yield Picture(index, seed, array, scores={"clip": round(score, 4)}, recipe=self.recipe(seed))

    def recipe(self, seed: int) -> dict[str, Any]:
        """Everything that makes this picture again; hashes instead of paths."""
        options = self.options.model_dump(mode="json", exclude=set(OUTSIDE)) | self.settings()
        options |= {"seed": seed, "candidates": self.candidates}
        options["clip"] = [Path(name).stem for name in self.options.clip]
        options |= {name: self.models[name].stem for name in ("upscaler", "secondary") if name in self.models}
        inputs = self.inputs()
        height, width = self.sides()
        options |= dict.fromkeys(inputs)
        digest = self.digest()
        return {
            "task": "create",
            "prompt": self.options.prompt,
            "negative_prompt": self.options.negative or None,
            "steps": self.steps,
            "sampler": self.sampler,
            "guidance_scale": self.guidance,
            "seed": seed,
            "width": width,
            "height": height,
            "model": options["model"],
            "model_hash": digest[:10],
            "made_with": f"lienzo {__version__}",
            "behaviour": BEHAVIOUR,
            "torch": torch.__version__,
            "device": self.device.type,
            "options": options,
            "style": self.wish.style,
            "filter": self.wish.filter,
            "models": {"model": digest} | {name: sha256(path) for name, path in self.models.items()},
            "inputs": inputs,
            **self.facts(),
        }


def to_bytes(picture: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] to uint8 (H, W, 3)."""
    return ((picture.permute(1, 2, 0).float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
