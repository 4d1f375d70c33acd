"""The secondary model of disco-diffusion: a small v-prediction network that guesses the clean picture cheaply.

Katherine Crowson trained it on ImageNet so that guidance can look at a clean guess without running, and
back-propagating through, the large network. Public file: ``secondary_model_imagenet_2.pth``, 49 tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.nn.embeddings import FourierFeatures
from lienzo.nn.loading import fill_exactly

MULTIPLIERS = (1, 2, 2, 4, 4, 8)
TIME_FEATURES = 16


@dataclass(frozen=True)
class Prediction:
    """What the secondary model says of a noisy picture, each (B, C, H, W).

    Attributes:
        v: its raw output, alpha * noise - sigma * picture.
        pred: the clean picture in [-1, 1] or slightly beyond.
        eps: the noise.
    """

    v: Tensor
    pred: Tensor
    eps: Tensor


def cosine_time(alpha: Tensor, sigma: Tensor) -> Tensor:
    """The time in [0, 1] at which alpha = cos(t pi / 2) and sigma = sin(t pi / 2)."""
    return torch.atan2(sigma, alpha) * 2 / math.pi


class SkipBlock(nn.Module):
    """Runs `main` and puts its result beside the input, channel-wise."""

    def __init__(self, *main: nn.Module):
        super().__init__()
        self.main = nn.Sequential(*main)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C' + C, H, W)."""
        return torch.cat([self.main(x), x], dim=1)


def _conv(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU(inplace=True))


def _level(widths: list[int]) -> SkipBlock:
    """All levels below `widths[0]`, nested: halve, work, go deeper, work, double."""
    above, width, *deeper = widths
    inside: list[nn.Module] = [_conv(above, width), _conv(width, width)]
    if deeper:
        inside += [_level(widths[1:]), _conv(2 * width, width)]
    else:
        inside += [_conv(width, width)]
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return SkipBlock(nn.AvgPool2d(2), *inside, _conv(width, above), up)


class SecondaryModel(nn.Module):
    """A plain convolutional U-Net told the time by random Fourier features.

    Args:
        channels: base width; 64 in the public file. The levels are 1, 2, 2, 4, 4 and 8 times as wide.
        in_channels: channels of the picture.
    """

    def __init__(self, channels: int = 64, in_channels: int = 3):
        super().__init__()
        self.config: dict[str, Any] = {"channels": channels, "in_channels": in_channels}
        widths = [channels * multiplier for multiplier in MULTIPLIERS]
        self.multiple = 2 ** (len(widths) - 1)
        self.timestep_embed = FourierFeatures(1, TIME_FEATURES)
        self.net = nn.Sequential(
            _conv(in_channels + TIME_FEATURES, channels),
            _conv(channels, channels),
            _level(widths),
            _conv(2 * channels, channels),
            nn.Conv2d(channels, in_channels, 3, padding=1),
        )

    def forward(self, x: Tensor, t: Tensor) -> Prediction:
        """One evaluation.

        Args:
            x: (B, in_channels, H, W), alpha * picture + sigma * noise with alpha^2 + sigma^2 = 1; H and W are
                multiples of 32.
            t: (B,), `cosine_time(alpha, sigma)`, 0 for a clean picture to 1 for pure noise.

        Raises:
            BadInput: the size does not fit.
        """
        if x.ndim != 4 or x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise BadInput(
                f"The secondary model takes pictures whose width and height are multiples of {self.multiple}; "
                f"a batch of shape {tuple(x.shape)} is not."
            )
        features = self.timestep_embed(t[:, None].to(x.dtype))  # (B, 16)
        planes = features[:, :, None, None].expand(-1, -1, *x.shape[2:])
        v = self.net(torch.cat([x, planes], dim=1))
        angle = t.to(x.dtype)[:, None, None, None] * math.pi / 2
        alpha, sigma = angle.cos(), angle.sin()
        return Prediction(v, x * alpha - v * sigma, x * sigma + v * alpha)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a secondary model."""
    deepest = "net.2." + "main.3." * (len(MULTIPLIERS) - 2) + "main.4.0.weight"
    return "timestep_embed.weight" in state and deepest in state


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> SecondaryModel:
    """The secondary model with the weights of `state`, in evaluation mode.

    The shapes tell all its sizes, so `config` changes nothing.

    Raises:
        BadWeights: keys or shapes do not fit.
    """
    last = state.get("net.4.weight")
    if last is None or last.ndim != 4:
        raise BadWeights("The weights are not those of a secondary model: 'net.4.weight' is missing.")
    with torch.device("meta"):
        model = SecondaryModel(channels=last.shape[1], in_channels=last.shape[0])
    return fill_exactly(model, state, "a secondary model").eval()
