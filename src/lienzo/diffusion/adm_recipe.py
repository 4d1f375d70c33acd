"""Training an ADM U-Net on pictures: improved-DDPM losses, any parameterisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.diffusion.adm import Adm
from lienzo.diffusion.gaussian import GaussianDiffusion


class AdmRecipe:
    """Unconditional diffusion of uint8 pictures (N, S, S, 3).

    Args:
        images: training pictures.
        held: withheld pictures for `evaluate`.
        config: arguments of `Adm`.
        diffusion: the process and its loss.
    """

    name = "adm"

    def __init__(
        self,
        images: np.ndarray,
        held: np.ndarray,
        config: dict[str, Any],
        diffusion: GaussianDiffusion,
        batch_size: int = 32,
    ):
        self.images, self.held, self.config = images, held, config
        self.diffusion, self.batch_size = diffusion, batch_size

    def build(self) -> nn.Module:
        return Adm(**self.config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _pictures(self, source: np.ndarray, rows: Tensor, generator: Generator) -> dict[str, Tensor]:
        x0 = torch.from_numpy(source[rows.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1
        steps = len(self.diffusion.betas)
        return {
            "x0": x0,
            "noise": torch.randn(x0.shape, generator=generator),
            "t": torch.randint(steps, (len(rows),), generator=generator),
        }

    def batch(self, images_seen: int, generator: Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(self.images), (self.batch_size,), generator=generator)
        return self._pictures(self.images, rows, generator)

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        terms = self.diffusion.training_losses(
            lambda x, t: model(x.contiguous(memory_format=torch.channels_last), t).float(),
            batch["x0"],
            batch["t"],
            batch["noise"],
        )
        return {"loss": terms["loss"].mean()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The training loss on up to 128 withheld pictures with fixed noise."""
        generator = torch.Generator().manual_seed(0)
        batch = self._pictures(self.held, torch.arange(min(len(self.held), 128)), generator)
        return {"loss[withheld]": self.step(model, batch)["loss"].item()}

    def samples(self, model: nn.Module) -> np.ndarray:
        """Sixteen samples by 40 DDIM steps from fixed noise."""
        size = self.images.shape[1]
        x = torch.randn(16, 3, size, size, generator=torch.Generator().manual_seed(0))
        total = len(self.diffusion.betas)
        times = torch.linspace(total - 1, 0, 40).round().long().tolist()
        for now, after in zip(times, [*times[1:], -1], strict=True):
            t = torch.full((16,), now)
            x0 = self.diffusion.p_mean_variance(lambda a, b: model(a, b).float(), x, t).x0
            noise = self.diffusion.eps_from_x0(x, t, x0)
            alpha = self.diffusion.alphas_cumprod[after].item() if after >= 0 else 1.0
            x = alpha**0.5 * x0 + (1 - alpha) ** 0.5 * noise
        grid = x.unflatten(0, (4, 4)).permute(0, 3, 1, 4, 2).reshape(4 * size, 4 * size, 3)
        return ((grid + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()
