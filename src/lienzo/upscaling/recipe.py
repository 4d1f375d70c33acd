"""Training SwinIR for super-resolution on whole pictures held in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lienzo.core.errors import BadInput
from lienzo.upscaling.degradations import damage, shrink, to_8_bits
from lienzo.upscaling.swinir import SwinIR

LAPTOP: dict[str, Any] = {
    "img_size": 24,
    "embed_dim": 64,
    "depths": [2, 2],
    "num_heads": [4, 4],
    "window_size": 8,
    "mlp_ratio": 2.0,
    "drop_path_rate": 0.0,
    "upscale": 4,
    "upsampler": "pixelshuffledirect",
}
"""A x4 network that learns drawings in minutes on one CPU core."""
LOSSES = {"l2": F.mse_loss, "l1": F.l1_loss}


class SwinIRRecipe:
    """Super-resolution on random crops.

    Args:
        pictures: uint8 (N, H, W, 3), training pictures, each at least `crop * upscale` pixels a side.
        held: uint8 (M, H, W, 3), withheld pictures for `evaluate` and `samples`; may be empty.
        config: options of `SwinIR`.
        batch_size: crops a step.
        crop: side of the small crop in pixels, a multiple of the window.
        damaged: False for clean bicubic shrinking (best PSNR); True for random kernels, noise and JPEG.
        choices: of so many random crops the busiest is taken, since flat ones teach nothing.
        loss: 'l2', which on drawings finds the edges in half the steps, or the paper's 'l1'.
    """

    name = "swinir"

    def __init__(
        self,
        pictures: np.ndarray,
        held: np.ndarray,
        config: dict[str, Any] = LAPTOP,
        *,
        batch_size: int = 8,
        crop: int = 24,
        damaged: bool = False,
        choices: int = 3,
        loss: str = "l2",
    ):
        if loss not in LOSSES:
            raise BadInput(f"There is no loss '{loss}' for upscaling; choose l2 or l1.")
        self.pictures, self.held, self.config = pictures, held, config
        self.batch_size, self.crop, self.damaged, self.choices = batch_size, crop, damaged, choices
        self.loss, self.scale = loss, int(config["upscale"])
        if not len(pictures) or min(pictures.shape[1:3]) < crop * self.scale:
            raise BadInput(f"The recipe needs pictures of at least {crop * self.scale} pixels a side.")

    def build(self) -> nn.Module:
        return start_as_interpolation(SwinIR(**self.config))

    def batch(self, images_seen: int, generator: Generator) -> dict[str, Tensor]:
        """`high` (B, 3, scale crop, scale crop) and its small version `low`, both in [0, 1]."""
        crops = [self._crop(generator) for _ in range(self.batch_size)]
        high = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
        low = damage(high, self.scale, generator) if self.damaged else shrink(high, self.scale)
        return {"high": high, "low": to_8_bits(low)}

    def _crop(self, generator: Generator) -> np.ndarray:
        """A busy crop of a random picture, turned and mirrored at random."""
        picture = self.pictures[int(torch.randint(len(self.pictures), (), generator=generator))]
        side = self.crop * self.scale
        tops = torch.randint(picture.shape[0] - side + 1, (self.choices,), generator=generator).tolist()
        lefts = torch.randint(picture.shape[1] - side + 1, (self.choices,), generator=generator).tolist()
        crops = [picture[top : top + side, left : left + side] for top, left in zip(tops, lefts)]
        busiest = max(crops, key=lambda crop: float(crop[::4, ::4].std()))
        turns = int(torch.randint(8, (), generator=generator))
        return np.rot90(busiest[:, ::-1] if turns > 3 else busiest, turns % 4).copy()

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {self.loss: LOSSES[self.loss](model(batch["low"]).float(), batch["high"])}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR in dB on whole withheld pictures shrunk by clean bicubic, for the network and for plain bicubic."""
        if not len(self.held):
            return {}
        scores = []
        for high in self._held(len(self.held)).split(1):
            low = to_8_bits(shrink(high, self.scale))
            scores.append([psnr(model(low), high), psnr(enlarge_bicubic(low, self.scale), high)])
        ours, plain = np.mean(scores, 0).tolist()
        protocol = f"rgb,x{self.scale},mean,n={len(scores)}"
        return {f"psnr[{protocol}]": ours, f"psnr-bicubic[{protocol}]": plain, f"gain[{protocol}]": ours - plain}

    @torch.no_grad()
    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Up to six withheld pictures in rows: enlarged by bicubic, by the network, and the truth."""
        if not len(self.held):
            return None
        high = self._held(6)
        low = to_8_bits(
            damage(high, self.scale, Generator().manual_seed(0)) if self.damaged else shrink(high, self.scale)
        )
        columns = [enlarge_bicubic(low, self.scale), torch.cat([model(x) for x in low.split(1)]), high]
        sheet = torch.cat(columns, 3).permute(0, 2, 3, 1).flatten(0, 1)  # (rows H, 3 W, 3)
        return (sheet.clamp(0, 1) * 255).round().byte().numpy()

    def _held(self, count: int) -> Tensor:
        """The first `count` withheld pictures in [0, 1], cut to a multiple of the scale: (M, 3, H, W)."""
        height, width = (size // self.scale * self.scale for size in self.held.shape[1:3])
        held = np.ascontiguousarray(self.held[:count, :height, :width])
        return torch.from_numpy(held).permute(0, 3, 1, 2).float() / 255


def enlarge_bicubic(x: Tensor, scale: int) -> Tensor:
    """Plain bicubic enlargement, the baseline."""
    return F.interpolate(x, scale_factor=float(scale), mode="bicubic").clamp(0, 1)


def psnr(x: Tensor, y: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of all pixels of `x`, clamped to [0, 1], against `y`."""
    error = (x.clamp(0, 1).double() - y.double()).square().mean().item()
    return float(-10 * np.log10(max(error, 1e-10)))


@torch.no_grad()
def start_as_interpolation(model: SwinIR) -> SwinIR:
    """Let a fresh network with the head 'pixelshuffledirect' begin as quadratic interpolation of its input.

    The long skip connection carries the pixels in the first channels, and the last convolution interpolates them;
    everything else begins small. Training then starts near 25 dB instead of at noise. Other heads are left alone.
    """
    if model.upsampler != "pixelshuffledirect":
        return model
    first, last, scale = model.conv_first, model.upsample[0], model.scale
    assert isinstance(last, nn.Conv2d)
    offset = (torch.arange(scale) + 0.5) / scale - 0.5  # of each new pixel from its old pixel's centre
    taps = torch.stack([offset * (offset - 1) / 2, 1 - offset**2, offset * (offset + 1) / 2], 1)  # (scale, 3)
    kernels = torch.einsum("iy,jx->ijyx", taps, taps).flatten(0, 1)  # (scale^2, 3, 3)
    tails = model.conv_after_body if isinstance(model.conv_after_body, nn.Sequential) else [model.conv_after_body]
    for small in (last, tails[-1]):
        assert isinstance(small, nn.Conv2d)
        assert small.bias is not None
        small.weight *= 0.1
        small.bias.zero_()
    for channel in range(model.in_chans):
        first.weight[channel] = 0
        first.weight[channel, channel, 1, 1] = 1 / model.img_range
        assert first.bias is not None
        first.bias[channel] = 0
        rows = slice(channel * scale**2, (channel + 1) * scale**2)
        last.weight[rows, : model.in_chans] = 0
        last.weight[rows, channel] = kernels * model.img_range
    return model
