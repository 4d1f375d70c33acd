"""Training the code painter: flow matching on linear codes with random dropping of sentence and style."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.diffusion.code_painter import CodePainter
from lienzo.training.recipe import Batch, Recipe


@dataclass
class CodedPictures:
    """Codes (N, K), style index (N,), the rows of `vectors` (R, text_dim) that caption each picture (maybe none)."""

    codes: Tensor
    style: Tensor
    caption_rows: list[np.ndarray]
    vectors: Tensor

    @cached_property
    def fingerprint(self) -> str:
        """Changes when any of it does."""
        return fingerprint(self.codes.numpy(), self.style.numpy(), self.vectors.numpy(), *self.caption_rows)


def noise_times(count: int, generator: Generator) -> Tensor:
    """Times in (0, 1): logit-normal(0.4, 1), a tenth uniform (Esser et al. 2024, arXiv 2403.03206)."""
    t = torch.sigmoid(0.4 + torch.randn(count, generator=generator))
    uniform = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.1, uniform, t)


class CodePainterRecipe(Recipe):
    """The code painter's recipe.

    Args:
        data: codes, styles and captions.
        config: arguments of `CodePainter`.
        held: the same for withheld pictures, for `evaluate`.
        batch_size: codes of one forward pass.
        seed: of the order of the codes.
    """

    name = "painter"
    network = "code-painter"

    def __init__(self, data: CodedPictures, config: dict, held: CodedPictures, batch_size: int = 512, *, seed: int = 0):
        self.data, self.config, self.held = data, config, held
        self.batch_size, self.seed = batch_size, seed

    def build(self) -> nn.Module:
        return CodePainter(**self.config)

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"config": self.config, "data": self.data.fingerprint}

    def _draw(self, data: CodedPictures, rows: Tensor, generator: Generator) -> Batch:
        """Pictures of some rows with one caption each, their noise and times; without a caption, the null sentence."""
        choice = torch.rand(len(rows), generator=generator).tolist()
        lists = [data.caption_rows[row] for row in rows.tolist()]
        captions = torch.tensor([int(own[int(c * len(own))]) if len(own) else -1 for own, c in zip(lists, choice)])
        clean = data.codes[rows]
        return {
            "clean": clean,
            "noise": torch.randn(clean.shape, generator=generator),
            "t": noise_times(len(rows), generator),
            "text": data.vectors[captions.clamp_min(0)].float(),
            "style": data.style[rows],
            "keep": captions >= 0,
        }

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = torch.from_numpy(rows_at(len(self.data.codes), start, self.batch_size, self.seed))
        return self._loosened(self._draw(self.data, rows, generator), generator, style_dropout=0.1)

    def _loosened(self, batch: Batch, generator: Generator, style_dropout: float) -> Batch:
        """Sentences a little off, some of them and some styles hidden."""
        count = len(batch["text"])
        spread = 0.012 * torch.randn(batch["text"].shape, generator=generator)
        batch["text"] = batch["text"] + spread  # neighbours of a sentence mean the same
        batch["keep"] = batch["keep"] & (torch.rand(count, generator=generator) >= 0.12)
        none = torch.rand(count, generator=generator) < style_dropout
        batch["style"] = torch.where(none, len(self.config["styles"]), batch["style"])
        return batch

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        t = batch["t"][:, None]
        noisy = (1 - t) * batch["clean"] + t * batch["noise"]
        guess = model(noisy, batch["t"], **self._told(batch))
        error = ((guess - batch.get("target", batch["clean"])) ** 2).mean(1) / batch["t"].clamp_min(0.1) ** 2
        return {"velocity": error.mean()}

    def _told(self, batch: Batch) -> dict[str, Any]:
        """What the network is told beside the noisy codes."""
        return {name: batch[name] for name in ("text", "style", "keep")}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The training loss on withheld pictures."""
        if not len(self.held.codes):
            return {}
        device = next(model.parameters()).device
        batch = {key: value.to(device) for key, value in self._held_batch().items()}
        return {"velocity[withheld]": self.step(model, batch)["velocity"].item()}

    def _held_batch(self) -> Batch:
        return self._draw(self.held, torch.arange(len(self.held.codes)), torch.Generator().manual_seed(0))
