"""Many pictures of one model for measuring: no enlarging, no filter, no choice by CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.core.seeds import picture_seed
from lienzo.diffusion.sampling import sample
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.bench import to_bytes
from lienzo.tasks.create import Create
from lienzo.tasks.easel import read_wish
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Wish
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256


@dataclass(frozen=True)
class Drawn:
    """One picture (S, S, 3) uint8 with the prompt and seed that made it."""

    prompt: str
    seed: int
    image: np.ndarray


class Artist:
    """A model that draws at its own size with its own sampler.

    Args:
        name: the model's name, file or run folder.
        device: where it computes.
        steps, sampler, guidance: in place of the model's own.

    Attributes:
        protocol: what decides its pictures besides prompts and seeds: model, hash, steps, sampler, guidance.
        evaluations: how often its network has run on one picture, on average over all that it drew.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        *,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | None = None,
    ):
        path = resolve(name)
        given: dict[str, Any] = {"prompt": "anything", "model": str(path)}
        self.options = Create.make(**given | ({} if guidance is None else {"guidance": guidance}))
        self.network = load_model(path, device)
        self.engine = engine_for(self.network, self.options, device)
        self.device = device
        self.steps, self.sampler = steps or self.engine.steps, sampler or self.engine.sampler
        self.sigmas = self.engine.sigmas(self.steps).to(device)
        self.calls = self.pictures = 0
        self.network.register_forward_pre_hook(self._count)
        self.protocol: dict[str, str | int | float] = {
            "model": path.parent.name if path.stem == "model" else path.stem,
            "sha": sha256(path)[:8],
            "steps": self.steps,
            "sampler": self.sampler,
        }
        if self.engine.conditional:
            self.protocol["guidance"] = self.options.guidance

    @property
    def evaluations(self) -> float:
        return self.calls / max(self.pictures, 1)

    @property
    def parameters(self) -> int:
        """Numbers in the generating network."""
        return sum(p.numel() for p in self.network.parameters())

    def batch(self, prompt: str, seeds: Sequence[int]) -> np.ndarray:
        """Pictures of one prompt, one a seed: uint8 (B, S, S, 3). Picture i is the same alone."""
        wish = replace(self._wish(prompt), seeds=tuple(seeds))
        noise = PictureNoise(list(seeds), self.device)
        x = self.sigmas[0] * noise(torch.zeros(len(seeds), *self.engine.latents.shape, device=self.device))
        model = self.engine.denoiser(wish, len(seeds), self.options.guidance)
        for step in sample(self.sampler, model, x, self.sigmas, noise=noise):
            x = step.x
        with torch.no_grad():
            finished = self.engine.latents.finish(x, wish)
        self.pictures += len(seeds)
        return np.stack([to_bytes(picture) for picture in finished])

    def draw(self, prompts: Sequence[str], seed: int = 0, batch: int = 16) -> Iterator[Drawn]:
        """One picture a prompt, picture i by seed + i, those of the same prompt together."""
        places: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            places.setdefault(prompt if self.engine.conditional else "", []).append(index)
        for prompt, indices in places.items():
            for start in range(0, len(indices), batch):
                part = indices[start : start + batch]
                seeds = [picture_seed(seed, i) for i in part]
                for i, s, image in zip(part, seeds, self.batch(prompt, seeds), strict=True):
                    yield Drawn(prompts[i], s, image)

    def _wish(self, prompt: str) -> Wish:
        if self.engine.conditional and not prompt.strip():
            raise BadInput("This model draws what a sentence says; give it prompts or captioned pictures.")
        styles = getattr(self.engine, "styles", ())
        return read_wish(self.options.model_copy(update={"prompt": prompt or "anything"}), styles)

    def _count(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.calls += len(inputs[0])
