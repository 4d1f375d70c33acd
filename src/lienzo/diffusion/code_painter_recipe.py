"""Training the code painter: flow matching on linear codes with random dropping of sentence and style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.diffusion.code_painter import CodePainter


@dataclass
class CodedPictures:
    """Codes (N, K), style index (N,), the rows of `vectors` (R, text_dim) that caption each picture."""

    codes: Tensor
    style: Tensor
    caption_rows: list[np.ndarray]
    vectors: Tensor


def noise_times(count: int, generator: Generator) -> Tensor:
    """Times in (0, 1): logit-normal(0.4, 1), a tenth uniform (Esser et al. 2024, arXiv 2403.03206)."""
    t = torch.sigmoid(0.4 + torch.randn(count, generator=generator))
    uniform = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.1, uniform, t)


class CodePainterRecipe:
    """The code painter's recipe.

    Args:
        data: codes, styles and captions.
        config: arguments of `CodePainter`.
        held: the same for withheld pictures, for `evaluate`.
    """

    name = "painter"

    def __init__(self, data: CodedPictures, config: dict, held: CodedPictures, batch_size: int = 512):
        self.data, self.config, self.held, self.batch_size = data, config, held, batch_size

    def build(self) -> nn.Module:
        return CodePainter(**self.config)

    def _draw(self, data: CodedPictures, rows: Tensor, generator: Generator) -> dict[str, Tensor]:
        choice = torch.rand(len(rows), generator=generator).tolist()
        lists = data.caption_rows
        captions = torch.tensor([lists[r][int(c * len(lists[r]))] for r, c in zip(rows.tolist(), choice)])
        clean = data.codes[rows]
        return {
            "clean": clean,
            "noise": torch.randn(clean.shape, generator=generator),
            "t": noise_times(len(rows), generator),
            "text": data.vectors[captions].float(),
            "style": data.style[rows],
        }

    def batch(self, images_seen: int, generator: Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(self.data.codes), (self.batch_size,), generator=generator)
        batch = self._draw(self.data, rows, generator)
        spread = 0.012 * torch.randn(batch["text"].shape, generator=generator)
        batch["text"] = batch["text"] + spread  # neighbours of a sentence mean the same
        batch["keep"] = torch.rand(len(rows), generator=generator) >= 0.12
        none = torch.rand(len(rows), generator=generator) < 0.1
        batch["style"] = torch.where(none, len(self.config["styles"]), batch["style"])
        return batch

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        t = batch["t"][:, None]
        noisy = (1 - t) * batch["clean"] + t * batch["noise"]
        guess = model(noisy, batch["t"], text=batch["text"], style=batch["style"], keep=batch.get("keep"))
        error = ((guess - batch["clean"]) ** 2).mean(1) / batch["t"].clamp_min(0.1) ** 2
        return {"velocity": error.mean()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The training loss on withheld pictures."""
        if not len(self.held.codes):
            return {}
        generator = torch.Generator().manual_seed(0)
        batch = self._draw(self.held, torch.arange(len(self.held.codes)), generator)
        return {"velocity[withheld]": self.step(model, batch)["velocity"].item()}

    def samples(self, model: nn.Module) -> None:
        return None
