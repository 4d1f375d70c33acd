"""The class-conditional U-Net of the diffusion course: diffusers' `UNet2DModel` told the class as extra channels.

Every pixel carries a learned vector of the class beside its colours, so the network sees the class at full size; the
time moves the features of each residual block (Ho et al. 2020, "Denoising Diffusion Probabilistic Models"). Parameters
carry the names of the course's notebook, `class_emb.weight` and `model.*`, and those under `model.` are diffusers' own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.adm import plain_arguments
from lienzo.nn.loading import fill_exactly

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


class ClassCondUnet(nn.Module):
    """The notebook's network: a noisy picture, its timestep and its class in, the noise (or whatever it learned) out.

    The defaults are the notebook's. Those after `null_class` are named as in diffusers' `UNet2DModel`.

    Args:
        num_classes: number of classes.
        class_emb_size: channels that tell the class.
        in_channels: channels of the picture.
        out_channels: channels of the output.
        null_class: the last row of the class vectors, number `num_classes`, stands for no class.
        sample_size: side in pixels that it was made for; kept for the caller, the network takes other sizes.
        center_input_sample: the network sees 2 x - 1.
        time_embedding_type: ``positional``, ``fourier`` (for noise levels above 0) or ``learned`` (whole timesteps).
        time_embedding_dim: width of the time; None for four times the first width.
        freq_shift, flip_sin_to_cos: form of the ``positional`` sinusoids.
        down_block_types: names of `DOWN`, from the largest size to the smallest.
        mid_block_type: None leaves the middle out.
        up_block_types: names of `UP`, from the smallest size to the largest.
        block_out_channels: width of each level, from the largest size to the smallest.
        layers_per_block: residual blocks a level; one more in the ascending half.
        mid_block_scale_factor: what the sums in the middle are divided by.
        downsample_padding: 1, or 0 to pad on the right and below only.
        downsample_type, upsample_type: ``conv`` or ``resnet``, for levels with attention.
        dropout: share of features dropped in training.
        act_fn: a name of `ACTIVATIONS`.
        attention_head_dim: channels a head; None for a single head.
        norm_num_groups, norm_eps: of all group norms.
        attn_norm_num_groups: of the attention in the middle; None for `norm_num_groups`.
        resnet_time_scale_shift: ``default`` adds the time, ``scale_shift`` scales and shifts by it.
        add_attention: whether the middle has attention.
        num_train_timesteps: rows of a ``learned`` time.
        classes: names of the classes, kept for the caller.

    Raises:
        BadInput: an option has no such value, or the numbers do not fit together.
    """

    def __init__(
        self,
        num_classes: int = 10,
        class_emb_size: int = 4,
        in_channels: int = 1,
        out_channels: int = 1,
        null_class: bool = False,
        sample_size: int | None = 28,
        center_input_sample: bool = False,
        time_embedding_type: str = "positional",
        time_embedding_dim: int | None = None,
        freq_shift: float = 0,
        flip_sin_to_cos: bool = True,
        down_block_types: Sequence[str] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        mid_block_type: str | None = "UNetMidBlock2D",
        up_block_types: Sequence[str] = ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels: Sequence[int] = (32, 64, 64),
        layers_per_block: int = 2,
        mid_block_scale_factor: float = 1.0,
        downsample_padding: int = 1,
        downsample_type: str = "conv",
        upsample_type: str = "conv",
        dropout: float = 0.0,
        act_fn: str = "silu",
        attention_head_dim: int | None = 8,
        norm_num_groups: int = 32,
        attn_norm_num_groups: int | None = None,
        norm_eps: float = 1e-5,
        resnet_time_scale_shift: str = "default",
        add_attention: bool = True,
        num_train_timesteps: int | None = None,
        classes: Sequence[str] | None = None,
    ):
        config = plain_arguments(locals())
        super().__init__()
        self.config: dict[str, Any] = config
        check(config)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.null_class = num_classes if null_class else None
        self.multiple = 2 ** (len(block_out_channels) - 1)
        self.class_emb = nn.Embedding(num_classes + null_class, class_emb_size)
        self.model = UNet2D(config, in_channels + class_emb_size, out_channels)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """One evaluation.

        Args:
            x: (B, in_channels, H, W); H and W are multiples of 2 to the number of levels less one.
            t: (B,) timesteps.
            y: (B,) labels; `null_class`, where there is one, stands for none.

        Returns:
            (B, out_channels, H, W).

        Raises:
            BadInput: the channels or the size do not fit.
        """
        height, width = x.shape[2:]
        if x.shape[1] != self.in_channels or height % self.multiple or width % self.multiple:
            raise BadInput(
                f"This model takes {self.in_channels} channels and sides that are multiples of {self.multiple}; "
                f"{x.shape[1]} channels of {width}x{height} are not."
            )
        planes = self.class_emb(y)[:, :, None, None].expand(-1, -1, height, width)
        return self.model(torch.cat([x, planes], dim=1), t)


def check(config: Mapping[str, Any]) -> None:
    """Refuse options that have no such value, or numbers of levels that differ.

    Raises:
        BadInput: with a sentence that says which.
    """
    choices: tuple[tuple[str, Sequence[Any]], ...] = (
        ("time_embedding_type", ("positional", "fourier", "learned")),
        ("mid_block_type", ("UNetMidBlock2D", None)),
        ("downsample_type", ("conv", "resnet")),
        ("upsample_type", ("conv", "resnet")),
        ("act_fn", tuple(ACTIVATIONS)),
        ("resnet_time_scale_shift", ("default", "scale_shift")),
    )
    given = [(option, config[option], known) for option, known in choices]
    given += [("down_block_types", kind, tuple(DOWN)) for kind in config["down_block_types"]]
    given += [("up_block_types", kind, tuple(UP)) for kind in config["up_block_types"]]
    for option, value, known in given:
        if value not in known:
            raise BadInput(f"Option '{option}' was {value!r}; it should be one of {', '.join(map(str, known))}.")
    levels = {len(config[name]) for name in ("block_out_channels", "down_block_types", "up_block_types")}
    if len(levels) > 1:
        raise BadInput("A U-Net needs as many widths as blocks down and blocks up.")
    if config["time_embedding_type"] == "learned" and not config["num_train_timesteps"]:
        raise BadInput("A learned time needs num_train_timesteps.")


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a `ClassCondUnet`."""
    return {"class_emb.weight", "model.conv_in.weight", "model.time_embedding.linear_1.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> ClassCondUnet:
    """The network with the weights of `state`, in evaluation mode.

    The tensors tell every width and block; what they cannot tell (the notebook's heads of 8 channels, 32 groups, ...)
    is taken as the notebook has it where `config` does not say otherwise.

    Raises:
        BadWeights: keys or shapes do not fit.
    """
    found = shapes(state)
    given = dict(config or {})
    if given.get("null_class"):
        found["num_classes"] -= 1
    with torch.device("meta"):  # a wrong file costs no memory before its tensors are known to fit
        model = ClassCondUnet(**{**found, **given})
    return fill_exactly(model, state, "a class-conditional U-Net").eval().requires_grad_(False)


def shapes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `ClassCondUnet` that its tensors tell.

    Raises:
        BadWeights: the tensors that tell them are missing.
    """
    try:
        classes, class_width = state["class_emb.weight"].shape
        entrance = state["model.conv_in.weight"]
        outputs = state["model.conv_out.weight"].shape[0]
        time_width = state["model.time_embedding.linear_1.weight"].shape[0]
        moved = state["model.down_blocks.0.resnets.0.time_emb_proj.weight"].shape[0]
        levels = count(state, r"model\.down_blocks\.(\d+)\.")
        widths = [state[f"model.down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in range(levels)]
        time = state.get("model.time_proj.weight")
    except KeyError as error:
        raise BadWeights(f"The weights are not those of a class-conditional U-Net: {error} is missing.") from error
    down, up = half(state, "down", levels), half(state, "up", levels)
    return {
        "num_classes": classes,
        "class_emb_size": class_width,
        "in_channels": entrance.shape[1] - class_width,
        "out_channels": outputs,
        "time_embedding_type": "positional" if time is None else ("fourier" if time.ndim == 1 else "learned"),
        "num_train_timesteps": time.shape[0] if time is not None and time.ndim == 2 else None,
        "time_embedding_dim": time_width,
        "block_out_channels": widths,
        "layers_per_block": count(state, r"model\.down_blocks\.0\.resnets\.(\d+)\."),
        "resnet_time_scale_shift": "scale_shift" if moved == 2 * widths[0] else "default",
        "mid_block_type": "UNetMidBlock2D" if "model.mid_block.resnets.0.conv1.weight" in state else None,
        "add_attention": "model.mid_block.attentions.0.to_q.weight" in state,
        **down,
        **up,
    }


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbered parts there are whose keys begin with `pattern`."""
    return 1 + max((int(found[1]) for key in state if (found := re.match(pattern, key))), default=-1)


def half(state: Mapping[str, Tensor], way: str, levels: int) -> dict[str, Any]:
    """The block types of one half, and how its levels with attention resample."""
    table = DOWN if way == "down" else UP
    kinds, attended = [], "conv"
    for level in range(levels):
        prefix = f"model.{way}_blocks.{level}"
        attends = f"{prefix}.attentions.0.to_q.weight" in state
        how = "resnet" if f"{prefix}.{way}samplers.0.norm1.weight" in state else "conv"
        attended = how if attends and how == "resnet" else attended
        kinds.append(next(name for name, row in table.items() if row == ((True, "") if attends else (False, how))))
    return {f"{way}_block_types": kinds, f"{way}sample_type": attended}
