"""diffusers' `UNet2DModel`: residual blocks that the time moves, with attention where the resolution is low.

Parameters carry diffusers' own names (Ho et al. 2020, "Denoising Diffusion Probabilistic Models").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu, "swish": F.silu, "mish": F.mish, "gelu": F.gelu, "relu": F.relu,
}  # fmt: skip
DOWN = {"DownBlock2D": (False, "conv"), "AttnDownBlock2D": (True, ""), "ResnetDownsampleBlock2D": (False, "resnet")}
UP = {"UpBlock2D": (False, "conv"), "AttnUpBlock2D": (True, ""), "ResnetUpsampleBlock2D": (False, "resnet")}
"""Block type -> whether it attends, and how it resamples ("" for what the network's options say)."""


@dataclass(frozen=True)
class Style:
    """What all blocks of a network share."""

    time_width: int
    groups: int
    eps: float
    dropout: float
    act_fn: str
    scale_shift: bool
    head_dim: int | None

    def norm(self, channels: int, groups: int | None = None) -> nn.GroupNorm:
        groups = groups or self.groups
        if channels % groups:
            raise BadInput(f"A layer of {channels} channels cannot be normalised in {groups} groups.")
        return nn.GroupNorm(groups, channels, eps=self.eps)


class Resample(nn.Module):
    """Halves with a strided convolution, or doubles pixels and convolves."""

    def __init__(self, channels: int, up: bool, padding: int = 1):
        super().__init__()
        self.up, self.padding = up, padding
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, 1 if up else padding)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        if self.up:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(x if self.padding else F.pad(x, (0, 1, 0, 1)))


class ResnetBlock(nn.Module):
    """Two convolutions behind group norms, the time added (or scaling and shifting) between them; may resample."""

    def __init__(self, channels: int, width: int, style: Style, resample: str = "", divisor: float = 1.0):
        super().__init__()
        self.activation = ACTIVATIONS[style.act_fn]
        self.scale_shift, self.resample, self.divisor = style.scale_shift, resample, divisor
        self.norm1 = style.norm(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.time_emb_proj = nn.Linear(style.time_width, 2 * width if style.scale_shift else width)
        self.norm2 = style.norm(width)
        self.dropout = nn.Dropout(style.dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, width, 1) if channels != width else None

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Features (B, channels, H, W) and time (B, time_width) to (B, width, ...)."""
        h = self.conv1(self._resampled(self.activation(self.norm1(x))))
        x = self._resampled(x)
        moved = self.time_emb_proj(self.activation(emb))[:, :, None, None]
        if self.scale_shift:
            scale, shift = moved.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + moved)
        h = self.conv2(self.dropout(self.activation(h)))
        return ((x if self.conv_shortcut is None else self.conv_shortcut(x)) + h) / self.divisor


class Attention(nn.Module):
    """Residual self-attention over all positions; `groups` 0 leaves its norm out."""

    def __init__(self, channels: int, style: Style, groups: int | None = None, divisor: float = 1.0):
        super().__init__()
        dim = style.head_dim or channels
        self.heads, self.divisor = channels // dim, divisor
        if not self.heads:
            raise BadInput(f"{channels} channels cannot be cut into attention heads of {dim}.")
        self.group_norm = None if groups == 0 else style.norm(channels, groups)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, self.heads * dim) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(self.heads * dim, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        b, channels, height, width = x.shape
        flat = x.flatten(2)
        flat = (flat if self.group_norm is None else self.group_norm(flat)).transpose(1, 2)  # (B, T, C)
        q, k, v = (
            layer(flat).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, T, heads * dim)
        mixed = self.to_out[0](mixed).transpose(1, 2).reshape(b, channels, height, width)
        return (x + mixed) / self.divisor


class Level(nn.Module):
    """One level of either half: residual blocks, each perhaps with attention behind it."""

    def __init__(self, inputs: Sequence[int], width: int, style: Style, attends: bool):
        super().__init__()
        self.attends = attends
        if attends:
            self.attentions = nn.ModuleList(Attention(width, style) for _ in inputs)
        self.resnets = nn.ModuleList(ResnetBlock(channels, width, style) for channels in inputs)

    def layer(self, index: int, x: Tensor, emb: Tensor) -> Tensor:
        """Residual block `index` and its attention."""
        x = self.resnets[index](x, emb)
        return self.attentions[index](x) if self.attends else x


class Down(Level):
    """A level of the descending half."""

    def __init__(self, inputs: Sequence[int], width: int, style: Style, attends: bool, halve: nn.Module | None):
        super().__init__(inputs, width, style, attends)
        self.downsamplers = None if halve is None else nn.ModuleList([halve])

    def forward(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        """All that the other half will see, the last of them what the next level starts from."""
        kept = []
        for index in range(len(self.resnets)):
            x = self.layer(index, x, emb)
            kept.append(x)
        if self.downsamplers is not None:
            kept.append(self.downsamplers[0](x, emb))
        return kept


class Up(Level):
    """A level of the ascending half."""

    def __init__(self, inputs: Sequence[int], width: int, style: Style, attends: bool, double: nn.Module | None):
        super().__init__(inputs, width, style, attends)
        self.upsamplers = None if double is None else nn.ModuleList([double])

    def forward(self, x: Tensor, emb: Tensor, kept: list[Tensor]) -> Tensor:
        """Takes as many features of the other half off the end of `kept` as it has residual blocks."""
        for index in range(len(self.resnets)):
            x = self.layer(index, torch.cat([x, kept.pop()], dim=1), emb)
        return x if self.upsamplers is None else self.upsamplers[0](x, emb)


class Middle(nn.Module):
    """Two residual blocks at the smallest size, attention between them."""

    def __init__(self, width: int, style: Style, attends: bool, groups: int | None, divisor: float):
        super().__init__()
        if groups is None and style.scale_shift:
            groups = 0  # as in diffusers: the norm of this attention stays out where the time scales the norms
        self.attentions = nn.ModuleList([Attention(width, style, groups, divisor)] if attends else [])
        self.resnets = nn.ModuleList(ResnetBlock(width, width, style, divisor=divisor) for _ in range(2))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self.resnets[0](x, emb)
        for attention in self.attentions:
            x = attention(x)
        return self.resnets[1](x, emb)


class Sinusoids(nn.Module):
    """Cosines and sines (B, width) of timesteps (B,); sines first unless `flip_sin_to_cos`."""

    def __init__(self, width: int, flip_sin_to_cos: bool, freq_shift: float):
        super().__init__()
        self.width, self.flip_sin_to_cos, self.freq_shift = width, flip_sin_to_cos, freq_shift

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        exponents = -math.log(10_000) * torch.arange(half, device=t.device) / (half - self.freq_shift)
        angles = t.float()[:, None] * exponents.exp()
        first, last = (angles.cos(), angles.sin()) if self.flip_sin_to_cos else (angles.sin(), angles.cos())
        return F.pad(torch.cat([first, last], dim=1), (0, self.width % 2))


class LogFourier(nn.Module):
    """Sines and cosines (B, 2 width) of the logarithm of noise levels (B,) at fixed random frequencies."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(16 * torch.randn(width), requires_grad=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = 2 * math.pi * t.float().log()[:, None] * self.weight
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """The two layers behind the sinusoids."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.linear_1 = nn.Linear(inputs, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(features.to(self.linear_1.weight.dtype))))


class UNet2D(nn.Module):
    """The network under `model.`: built from the config of `ClassCondUnet`, `inputs` channels in."""

    def __init__(self, config: Mapping[str, Any], inputs: int, outputs: int):
        super().__init__()
        self.config = config
        widths = list(config["block_out_channels"])
        style = Style(
            config["time_embedding_dim"] or 4 * widths[0], config["norm_num_groups"], config["norm_eps"],
            config["dropout"], config["act_fn"], config["resnet_time_scale_shift"] == "scale_shift",
            config["attention_head_dim"],
        )  # fmt: skip
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.time_proj = self._time_features(widths[0])
        doubled = 2 if config["time_embedding_type"] == "fourier" else 1
        self.time_embedding = TimeEmbedding(doubled * widths[0], style.time_width)
        self.down_blocks = self._descending(widths, style)
        self.mid_block: Middle | None = None
        if config["mid_block_type"] is not None:
            groups, divisor = config["attn_norm_num_groups"], config["mid_block_scale_factor"]
            self.mid_block = Middle(widths[-1], style, config["add_attention"], groups, divisor)
        self.up_blocks = self._ascending(widths, style)
        self.conv_norm_out = style.norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], outputs, 3, padding=1)

    def _time_features(self, width: int) -> nn.Module:
        kind = self.config["time_embedding_type"]
        if kind == "positional":
            return Sinusoids(width, self.config["flip_sin_to_cos"], self.config["freq_shift"])
        return LogFourier(width) if kind == "fourier" else nn.Embedding(self.config["num_train_timesteps"], width)

    def _descending(self, widths: list[int], style: Style) -> nn.ModuleList:
        levels = nn.ModuleList()
        for index, (kind, width) in enumerate(zip(self.config["down_block_types"], widths, strict=True)):
            attends, how = DOWN[kind]
            halve: nn.Module | None = None
            if index < len(widths) - 1:
                resnet = (how or self.config["downsample_type"]) == "resnet"
                padding = self.config["downsample_padding"]
                halve = ResnetBlock(width, width, style, "down") if resnet else Resample(width, False, padding)
            before = widths[max(index - 1, 0)]
            inputs = [before] + [width] * (self.config["layers_per_block"] - 1)
            levels.append(Down(inputs, width, style, attends, halve))
        return levels

    def _ascending(self, widths: list[int], style: Style) -> nn.ModuleList:
        levels, turned = nn.ModuleList(), widths[::-1]
        for index, (kind, width) in enumerate(zip(self.config["up_block_types"], turned, strict=True)):
            attends, how = UP[kind]
            double: nn.Module | None = None
            last = index == len(widths) - 1
            if not last:
                resnet = (how or self.config["upsample_type"]) == "resnet"
                double = ResnetBlock(width, width, style, "up") if resnet else Resample(width, True)
            layers = self.config["layers_per_block"]
            kept = [width] * layers + [turned[index if last else index + 1]]
            below = [turned[max(index - 1, 0)]] + [width] * layers
            levels.append(Up([a + b for a, b in zip(below, kept, strict=True)], width, style, attends, double))
        return levels

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """(B, inputs, H, W) and (B,) to (B, outputs, H, W)."""
        emb = self.time_embedding(self.time_proj(timesteps))
        x = self.conv_in(2 * x - 1 if self.config["center_input_sample"] else x)
        kept = [x]
        for level in self.down_blocks:
            kept += level(kept[-1], emb)
        x = kept[-1] if self.mid_block is None else self.mid_block(kept[-1], emb)
        for level in self.up_blocks:
            x = level(x, emb, kept)
        x = self.conv_out(F.silu(self.conv_norm_out(x)))
        return x / timesteps[:, None, None, None] if self.config["time_embedding_type"] == "fourier" else x
