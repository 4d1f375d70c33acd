"""Many pictures of one model, drawn from Python: no enlarging, no filter, no choice by CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.core.seeds import picture_seed
from lienzo.core.text import printable
from lienzo.tasks.bench import to_bytes
from lienzo.tasks.create import Create
from lienzo.tasks.easel import Easel, open_bench
from lienzo.tasks.engines.base import Wish
from lienzo.weights.store import RUN_MODEL, resolve

NOT_DRAWING = (
    "prompt", "model", "device", "n", "seed", "batch", "out", "overwrite", "metadata", "previews", "candidates",
    "upscaler", "draw_size", "compose",
)  # fmt: skip
"""Options of `create` that an artist is told otherwise, or that are about more than drawing."""
FIXED: Mapping[str, Any] = MappingProxyType(
    {"prompt": "anything", "upscaler": "none", "compose": False, "previews": 0, "clip": ()}
)


@dataclass(frozen=True)
class Drawn:
    """One picture (H, W, 3) uint8 with the prompt and seed that made it."""

    prompt: str
    seed: int
    image: np.ndarray


class Artist:
    """A model that draws at its own size with its own sampler: all that `lienzo create --model` takes.

    Args:
        name: the model's name, file or run folder, a checkpoint of Stable Diffusion or a folder of one, or, with the
            extra `[hub]`, a text-to-image pipeline of diffusers.
        device: where it computes; the CPU where none is given.
        steps, sampler, guidance: in place of the model's own.
        options: other options of `create` by their names, such as `size`, `negative`, `lora`, `clip_guidance`, and
            `init` with `mask` and `strength`.

    Attributes:
        protocol: what decides its pictures besides prompts, seeds and `options`: model, hash, steps, sampler, guidance.
        evaluations: how often its network has run on one picture, on average over all that it drew.
        notes: what a person should know before it draws.

    Raises:
        BadInput: there is no such model, it does not draw, or an option does not fit it.
        BadWeights: its files do not fit.
    """

    def __init__(
        self,
        name: str | Path,
        device: torch.device | None = None,
        *,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
    ):
        own = {"steps": steps, "sampler": sampler, "guidance": guidance}
        given = {**options, **{key: value for key, value in own.items() if value is not None}}
        self.options = _options(str(name), given)
        self.device = torch.device("cpu") if device is None else device
        self.bench = open_bench(self.options, self.device)
        self.calls = self.pictures = 0
        called = str(self.bench.settings()["model"])
        told = {
            "model": resolve(name).parent.name if called == Path(RUN_MODEL).stem else called,
            "sha": self.bench.digest()[:8],
            "steps": self.bench.steps,
            "sampler": self.bench.sampler,
            "guidance": self.bench.guidance if self.conditional else None,
        }
        self.protocol: dict[str, str | int | float] = {key: value for key, value in told.items() if value is not None}

    @property
    def conditional(self) -> bool:
        """Whether it reads prompts."""
        return self.bench.conditional

    @property
    def network(self) -> nn.Module:
        """The generating network."""
        return self.bench.network

    @property
    def notes(self) -> list[str]:
        return self.bench.notes

    @property
    def files(self) -> list[Path]:
        """All files that drawing needs."""
        return [*self.bench.files(), *self.bench.models.values()]

    @property
    def evaluations(self) -> float:
        return self.calls / max(self.pictures, 1)

    @property
    def parameters(self) -> int:
        """Numbers in the generating network."""
        return sum(p.numel() for p in self.network.parameters())

    def starting_from(
        self,
        picture: str | Path,
        mask: str | Path | None = None,
        *,
        strength: float | None = None,
        mask_convention: Literal["white", "black", "alpha"] = "white",
    ) -> Artist:
        """This artist at work on a picture, with the same networks in memory.

        Args:
            picture: file of the picture to start from.
            mask: file that says what is painted anew; all of it without one.
            strength: share of the steps that are taken, in [0, 1]: 0 keeps the picture, 1 hardly looks at it. Default:
                half of them; all where a checkpoint for inpainting looks at the picture itself.
            mask_convention: what of the mask is painted anew: what is white, black or transparent.

        Raises:
            BadInput: the model does not start from pictures, or mask and picture differ in shape.
            BadPicture: a file cannot be read.
        """
        if not isinstance(self.bench, Easel):
            raise BadInput("A pipeline of diffusers starts from a sentence alone, not from a picture.")
        given = {name: getattr(self.options, name) for name in self.options.model_fields_set - FIXED.keys()}
        start = {"init": picture, "mask": mask, "strength": strength, "mask_convention": mask_convention}
        other = copy(self)
        other.options = Create.make(**{**FIXED, **given, "clip": self.options.clip, **start})
        engine = copy(self.bench.engine)  # one for inpainting is shown the picture
        other.bench = Easel(other.options, engine, self.bench.path, self.device)
        other.calls = other.pictures = 0
        return other

    def check(self, prompt: str) -> None:
        """Pass where the model draws such a prompt.

        Raises:
            BadInput: it does not; the sentence says why.
        """
        wish = self._wish(prompt)
        if isinstance(self.bench, Easel):
            self.bench.engine.denoiser(wish, 1, self.bench.guidance)

    def batch(self, prompt: str, seeds: Sequence[int]) -> np.ndarray:
        """Pictures of one prompt, one a seed: uint8 (B, H, W, 3). Picture i is the same alone."""
        painting = self.bench.paint(list(seeds), self._wish(prompt))
        counting = self.network.register_forward_pre_hook(self._count, with_kwargs=True)
        try:
            while True:
                next(painting)
        except StopIteration as end:
            finished: Tensor = end.value
        finally:
            counting.remove()
        self.pictures += len(seeds)
        return np.stack([self.bench.touched(to_bytes(picture)) for picture in finished])

    def draw(self, prompts: Sequence[str], seed: int = 0, batch: int = 16) -> Iterator[Drawn]:
        """One picture a prompt, picture i by seed + i, those of the same prompt together."""
        places: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            places.setdefault(prompt if self.conditional else "", []).append(index)
        for prompt, indices in places.items():
            for start in range(0, len(indices), batch):
                part = indices[start : start + batch]
                seeds = [picture_seed(seed, i) for i in part]
                for i, s, image in zip(part, seeds, self.batch(prompt, seeds), strict=True):
                    yield Drawn(prompts[i], s, image)

    def _wish(self, prompt: str) -> Wish:
        if self.conditional and not prompt.strip():
            raise BadInput("This model draws what a sentence says; give it prompts or captioned pictures.")
        return self.bench.read(prompt or "anything")

    def _count(self, network: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = inputs[0] if inputs else named.get("hidden_states", named.get("sample"))
        self.calls += len(x) if isinstance(x, Tensor) else 1


def _options(model: str, given: Mapping[str, Any]) -> Create:
    """The options of `create` that an artist draws by.

    Raises:
        BadInput: one does not exist, is none of drawing, or has a value out of its bounds.
    """
    for name in given:
        if name in NOT_DRAWING:
            raise BadInput(f"'{printable(name, 40)}' is no option of an artist, which draws and does nothing more.")
    clip = {"clip": Create.model_fields["clip"].default} if given.get("clip_guidance") else {}
    return Create.make(**{**FIXED, **clip, **given, "model": model})
