"""Training the refiner on what it will see: one-step guesses and rebuilt codes of real pictures."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.linear_code import LinearCode
from lienzo.diffusion.refiner import Refiner
from lienzo.training.recipe import Recipe


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels along both axes."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


class RefinerRecipe(Recipe):
    """Input: the painter's guess of the picture from a noise level in [0.03, 0.6]; target: the real picture.

    Args:
        images: uint8 (N, S, S, 3), row for row the pictures of `data`.
        data: their codes, styles and captions.
        painter: a trained painter, frozen.
        code: the linear code of both.
        held: number of pictures at the end of the arrays that are kept for `evaluate`; an eighth at most.
        batch_size: pictures of one forward pass.
        seed: of the order of the pictures.
    """

    name = "refiner"
    network = "refiner"

    def __init__(
        self,
        images: np.ndarray,
        data: CodedPictures,
        painter: CodePainter,
        code: LinearCode,
        held: int = 64,
        batch_size: int = 32,
        *,
        seed: int = 0,
    ):
        self.images, self.data, self.painter, self.code = images, data, painter, code
        self.batch_size, self.seed = batch_size, seed
        self.held = min(held, len(images) // 8)

    def build(self) -> nn.Module:
        return Refiner()

    @cached_property
    def _given(self) -> dict[str, str]:
        weights = [value.float().cpu().numpy() for value in self.painter.state_dict().values()]
        return {"pictures": fingerprint(self.images), "painter": fingerprint(*weights)}

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"held": self.held, "data": self.data.fingerprint, **self._given}

    @torch.no_grad()
    def _pairs(self, rows: Tensor, generator: Generator) -> dict[str, Tensor]:
        clean = self.data.codes[rows]
        first = [self.data.caption_rows[r][0] for r in rows.tolist()]
        t = 0.03 + 0.57 * torch.rand(len(rows), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = (1 - t[:, None]) * clean + t[:, None] * noise
        text = self.data.vectors[torch.tensor(first)].float()
        guess = self.painter(noisy, t, text=text, style=self.data.style[rows])
        target = torch.from_numpy(self.images[rows.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1
        return {"input": self.code.decode(guess).clamp(-1, 1), "target": target}

    def batch(self, start: int, generator: Generator) -> dict[str, Tensor]:
        rows = rows_at(len(self.images) - self.held, start, self.batch_size, self.seed)
        return self._pairs(torch.from_numpy(rows), generator)

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        refined = model(batch["input"])
        across = sum((a - b).abs().mean() for a, b in zip(edges(refined), edges(batch["target"])))
        return {"l1": (refined - batch["target"]).abs().mean(), "edges": torch.as_tensor(across)}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR in dB to the real pictures, before and after, on the kept pictures."""
        rows = torch.arange(len(self.images) - self.held, len(self.images))
        pairs = self._pairs(rows, torch.Generator().manual_seed(0))
        after = model(pairs["input"].to(next(model.parameters()).device)).cpu()

        def psnr(x: Tensor) -> float:
            mse = ((x - pairs["target"]) / 2).square().mean((1, 2, 3))
            return float((-10 * mse.log10()).mean())

        return {"psnr before": psnr(pairs["input"]), "psnr": psnr(after)}

    def samples(self, model: nn.Module) -> np.ndarray:
        """Four rows: input, refined, real."""
        rows = torch.arange(len(self.images) - min(self.held, 8), len(self.images))
        pairs = self._pairs(rows, torch.Generator().manual_seed(0))
        refined = model(pairs["input"].to(next(model.parameters()).device)).cpu()
        strips = [pairs["input"], refined, pairs["target"]]
        grid = torch.cat([torch.cat(list(strip), 2) for strip in strips], 1)
        return ((grid.permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()
