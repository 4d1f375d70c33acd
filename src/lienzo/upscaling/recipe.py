"""Training SwinIR on crops of pictures: enlarging, or removing noise or the traces of JPEG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lienzo.core.errors import BadInput
from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.data.sets import Pictures
from lienzo.imaging.psnr import pooled_psnr
from lienzo.training.recipe import Recipe
from lienzo.upscaling.degradations import damage, jpeg, luma, shrink, to_8_bits
from lienzo.upscaling.real_degradation import real_world
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
JUDGED = 120  # withheld pictures that figures are computed on, at most
SHOWN = 6


def charbonnier(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(d^2 + eps^2), the smooth absolute difference with which SwinIR's denoisers were trained."""
    return ((x - y).square() + 1e-9).sqrt().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": F.mse_loss,
    "l1": F.l1_loss,
    "charbonnier": charbonnier,
}


@dataclass(frozen=True)
class Degradation:
    """What was done to a picture, and the network is to undo.

    Attributes:
        kind: 'bicubic': clean shrinking, for the best PSNR. 'light': shrinking by random kernels, now and then with
            a little blur, noise or JPEG. 'real': what pictures on the web went through (`real_world`). 'noise':
            white Gaussian noise, the size stays. 'jpeg': JPEG, the size stays.
        level: for 'noise' its deviation of 255; for 'jpeg' the quality, 1 to 100.
    """

    kind: str = "bicubic"
    level: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"There is no degradation '{self.kind}'; choose one of {', '.join(KINDS)}.")
        if self.kind == "noise" and not 0 < self.level <= 255:
            raise BadInput(f"The noise was {self.level}; it should be above 0, up to 255.")
        if self.kind == "jpeg" and not 1 <= self.level <= 100:
            raise BadInput(f"The JPEG quality was {self.level}; it should be between 1 and 100.")

    @property
    def resizes(self) -> bool:
        return self.kind in ("bicubic", "light", "real")

    def __call__(self, high: Tensor, scale: int, generator: Generator) -> Tensor:
        """Pictures (B, C, H, W) in [0, 1] to (B, C, H / scale, W / scale), 8-bit values except with noise.

        Noise goes beyond [0, 1] as in the benchmarks of denoisers; C is 3 for 'light' and 'real', 1 or 3 else.
        """
        if self.kind == "noise":
            return high + torch.randn(high.shape, generator=generator) * (self.level / 255)
        if self.kind == "bicubic":
            low = shrink(high, scale)
        elif self.kind == "jpeg":
            low = jpeg(high.expand(-1, 3, -1, -1), torch.full((len(high),), float(self.level)))[:, : high.shape[1]]
        else:
            low = (damage if self.kind == "light" else real_world)(high, scale, generator)
        return to_8_bits(low)


KINDS = ("bicubic", "light", "real", "noise", "jpeg")


class SwinIRRecipe(Recipe):
    """Restoration of random crops.

    Args:
        pictures: uint8 (N, H, W, 3), training pictures, each at least `crop` times the scale a side.
        held: uint8 (M, H, W, 3), withheld pictures for `evaluate` and `samples`; may be empty.
        config: options of `SwinIR`; with `in_chans` 1 it learns brightness alone.
        batch_size: crops a step.
        crop: side of the network's input in pixels, a multiple of the window.
        degradation: how the input is made from the pictures.
        choices: of so many random crops the busiest is taken, since flat ones teach nothing.
        loss: 'l2', which on drawings finds the edges in half the steps, the paper's 'l1' or 'charbonnier'.
        seed: of the order of the pictures.
        data: fingerprint of the pictures; computed from some of them when empty.

    Raises:
        BadInput: too small pictures, an unknown loss, or a degradation that does not fit the network.
    """

    name = "swinir"
    network = "swinir"

    def __init__(
        self,
        pictures: Pictures,
        held: Pictures,
        config: dict[str, Any] = LAPTOP,
        *,
        batch_size: int = 8,
        crop: int = 24,
        degradation: Degradation = Degradation(),
        choices: int = 3,
        loss: str = "l2",
        seed: int = 0,
        data: str = "",
    ):
        if loss not in LOSSES:
            raise BadInput(f"There is no loss '{loss}' for upscaling; choose one of {', '.join(LOSSES)}.")
        self.pictures, self.held, self.config, self.data = pictures, held, config, data
        self.batch_size, self.crop, self.choices = batch_size, crop, choices
        self.degradation, self.loss, self.seed = degradation, loss, seed
        enlarges = bool(config.get("upsampler"))
        self.scale = int(config.get("upscale", 2)) if enlarges else 1
        self.grey = config.get("in_chans", 3) == 1
        if degradation.resizes != enlarges:
            raise BadInput(f"A SwinIR with the upsampler '{config.get('upsampler', '')}' cannot undo {degradation}.")
        if self.grey and degradation.kind in ("light", "real"):
            raise BadInput(f"The degradation '{degradation.kind}' needs a network for colour pictures.")
        if not len(pictures) or min(pictures.shape[1:3]) < crop * self.scale:
            raise BadInput(f"The recipe needs pictures of at least {crop * self.scale} pixels a side.")

    def build(self) -> nn.Module:
        return start_as_interpolation(SwinIR(**self.config))

    def facts(self) -> dict[str, Any]:
        options = {"crop": self.crop, "choices": self.choices, "loss": self.loss}
        how = {"config": self.config, "degradation": asdict(self.degradation)}
        return super().facts() | options | how | {"data": self.data or self._some_pictures()}

    def _some_pictures(self) -> str:
        """A fingerprint of the pictures' number and size and of at most 200 of them."""
        rows = np.unique(np.linspace(0, len(self.pictures) - 1, 200).astype(np.int64))
        return fingerprint([str(tuple(self.pictures.shape))], self.pictures[rows])

    def batch(self, start: int, generator: Generator) -> dict[str, Tensor]:
        """`high` (B, C, scale crop, scale crop) in [0, 1] and what the network gets, `low` (B, C, crop, crop)."""
        pictures = self.pictures[rows_at(len(self.pictures), start, self.batch_size, self.seed)]
        high = self._floats(np.stack([self._crop(picture, generator) for picture in pictures]))
        return {"high": high, "low": self.degradation(high, self.scale, generator)}

    def _crop(self, picture: np.ndarray, generator: Generator) -> np.ndarray:
        """A busy crop of a picture, turned and mirrored at random."""
        side = self.crop * self.scale
        tops = torch.randint(picture.shape[0] - side + 1, (self.choices,), generator=generator).tolist()
        lefts = torch.randint(picture.shape[1] - side + 1, (self.choices,), generator=generator).tolist()
        crops = [picture[top : top + side, left : left + side] for top, left in zip(tops, lefts)]
        busiest = max(crops, key=lambda crop: float(crop[::4, ::4].std()))
        turns = int(torch.randint(8, (), generator=generator))
        return np.rot90(busiest[:, ::-1] if turns > 3 else busiest, turns % 4).copy()

    def _floats(self, pictures: np.ndarray) -> Tensor:
        """uint8 (B, H, W, 3) to (B, C, H, W) in [0, 1]; grey for a grey network."""
        x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
        return luma(x) if self.grey else x

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {self.loss: LOSSES[self.loss](model(batch["low"]).float(), batch["high"])}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR in dB on whole withheld pictures, damaged by fixed seeds, for the network and for doing little:
        plain bicubic enlargement, or the damaged picture as it is."""
        count = min(len(self.held), JUDGED)
        if not count:
            return {}
        scores = []
        for low, high in (self._pair(i) for i in range(count)):
            scores.append([psnr(restored(model, low), high), psnr(self._plain(low), high)])
        ours, plain = np.mean(scores, 0).tolist()
        what, level = self.degradation.kind, f"{self.degradation.level:g}"
        made = {"bicubic": "", "noise": f"noise={level},", "jpeg": f"jpeg={level},"}.get(what, f"{what},")
        size = f"x{self.scale}," if self.degradation.resizes else ""
        protocol = f"{'grey' if self.grey else 'rgb'},{size}{made}mean,n={count}"
        baseline = "psnr-bicubic" if self.degradation.resizes else "psnr-input"
        return {f"psnr[{protocol}]": ours, f"{baseline}[{protocol}]": plain, f"gain[{protocol}]": ours - plain}

    @torch.no_grad()
    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Up to six withheld pictures in rows: damaged (enlarged by bicubic), restored by the network, the truth."""
        if not len(self.held):
            return None
        rows = []
        for low, high in (self._pair(i) for i in range(min(len(self.held), SHOWN))):
            rows.append(torch.cat([self._plain(low), restored(model, low), high], 3))
        sheet = torch.cat(rows, 2)[0].permute(1, 2, 0).expand(-1, -1, 3)  # (rows H, 3 W, 3)
        return (sheet.clamp(0, 1) * 255).round().byte().numpy()

    def _pair(self, row: int) -> tuple[Tensor, Tensor]:
        """A withheld picture, damaged and whole, cut to a multiple of the scale."""
        height, width = (size // self.scale * self.scale for size in self.held.shape[1:3])
        high = self._floats(self.held[np.array([row])])[:, :, :height, :width]
        return self.degradation(high, self.scale, Generator().manual_seed(row)), high

    def _plain(self, low: Tensor) -> Tensor:
        return enlarge_bicubic(low, self.scale) if self.scale > 1 else low.clamp(0, 1)


def restored(model: nn.Module, low: Tensor) -> Tensor:
    """The network's answer, on the CPU."""
    return model(low.to(next(model.parameters()).device)).float().cpu()


def enlarge_bicubic(x: Tensor, scale: int) -> Tensor:
    """Plain bicubic enlargement, the baseline."""
    return F.interpolate(x, scale_factor=float(scale), mode="bicubic").clamp(0, 1)


def psnr(x: Tensor, y: Tensor) -> float:
    """PSNR in dB of all pixels of `x`, clamped to [0, 1], against `y`; at most 100, so that means stay finite."""
    return min(pooled_psnr(x.clamp(0, 1).double(), y.double()).item(), 100.0)


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
