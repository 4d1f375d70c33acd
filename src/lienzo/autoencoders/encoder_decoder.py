"""The convolutional encoder and decoder that VQGAN and latent diffusion share.

Esser et al. 2021, "Taming Transformers for High-Resolution Image Synthesis"; Rombach et al. 2022, "High-Resolution
Image Synthesis with Latent Diffusion Models". Parameters carry the names of the public checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.nn.normalisation import GroupNorm32

Normalise = Callable[[GroupNorm32, Tensor], Tensor]
"""Applies a norm to features; tiles are normalised by the statistics of the whole picture."""

ATTENTION_TYPES = ("vanilla", "linear", "none")
MAX_LEVELS, MAX_BLOCKS = 16, 64


@dataclass(frozen=True)
class Structure:
    """The `ddconfig` of the public configuration files; the downsampling factor is 2 to the number of levels less one.

    Raises:
        BadInput: the numbers do not fit together; the sentence says which.
    """

    ch: int
    """Base width, a multiple of 32."""
    out_ch: int
    """Channels of the decoded picture."""
    num_res_blocks: int
    """Residual blocks a level; the decoder has one more."""
    attn_resolutions: Sequence[int]
    """Sizes of the feature map at which there is attention, for pictures of `resolution` pixels."""
    in_channels: int
    """Channels of the picture to encode."""
    resolution: int
    """Picture size that `attn_resolutions` refers to; other sizes can be encoded."""
    z_channels: int
    """Channels between the encoder and the decoder."""
    ch_mult: Sequence[int] = (1, 2, 4, 8)
    """Width of each level in multiples of `ch`, from the largest size to the smallest."""
    dropout: float = 0.0
    """Share of features dropped in training."""
    resamp_with_conv: bool = True
    """Resample by convolutions; otherwise by averages and repetition."""
    double_z: bool = True
    """The encoder gives twice `z_channels`: means and log variances."""
    attn_type: str = "vanilla"
    """vanilla, linear, or none."""
    use_linear_attn: bool = False
    """Older word for the attention type linear."""
    tanh_out: bool = False
    """The decoder ends in tanh."""
    give_pre_end: bool = False
    """The decoder gives the features before its last norm instead of a picture."""

    def __post_init__(self) -> None:
        counts = (self.ch, self.out_ch, self.num_res_blocks, self.in_channels, self.resolution, self.z_channels)
        if any(type(count) is not int or count < 1 for count in (*counts, *self.ch_mult)):
            raise BadInput("The sizes of an autoencoder are whole numbers from 1 up.")
        if not 1 <= len(self.ch_mult) <= MAX_LEVELS or self.num_res_blocks > MAX_BLOCKS:
            raise BadInput(
                f"An autoencoder has 1 to {MAX_LEVELS} levels of at most {MAX_BLOCKS} blocks, not "
                f"{len(self.ch_mult)} of {self.num_res_blocks}."
            )
        if self.attn_type not in ATTENTION_TYPES:
            raise BadInput(f"Attention is of type {', '.join(ATTENTION_TYPES)}, not '{self.attn_type}'.")

    @classmethod
    def of(cls, ddconfig: Mapping[str, Any]) -> Structure:
        """From the `ddconfig` of a configuration file. Unknown names are ignored, as in the original programs.

        Raises:
            BadInput: a name is missing, or the numbers do not fit together.
        """
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in ddconfig.items() if name in known})
        except TypeError as error:
            raise BadInput(f"The settings of the autoencoder do not fit: {error}.") from error

    def plain(self) -> dict[str, Any]:
        """As a JSON-ready dict."""
        return {name: list(v) if isinstance(v, Sequence) and not isinstance(v, str) else v
                for name, v in asdict(self).items()}  # fmt: skip

    @property
    def levels(self) -> int:
        return len(self.ch_mult)

    @property
    def factor(self) -> int:
        return 2 ** (self.levels - 1)

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return [self.ch * mult for mult in self.ch_mult]

    def attends(self, level: int) -> bool:
        """Whether a level has attention."""
        size = self.resolution
        for _ in range(level):
            size //= 2
        return size in self.attn_resolutions

    def attention(self, channels: int) -> nn.Module:
        """An attention block of the chosen type."""
        kind = "linear" if self.use_linear_attn else self.attn_type
        if kind == "none":
            return nn.Identity()
        return Attention(channels) if kind == "vanilla" else LinearAttention(channels)


def norm_layer(channels: int) -> GroupNorm32:
    """The norm of this family: 32 groups, eps 1e-6."""
    return GroupNorm32(channels, 32, 1e-6)


def whole(norm: GroupNorm32, x: Tensor) -> Tensor:
    """Normalise by the statistics of the features given, as usual."""
    return norm(x)


def activated(norm: GroupNorm32, x: Tensor, normalise: Normalise) -> Tensor:
    """Norm and swish; the norm's result is overwritten where no gradient needs it."""
    return F.silu(normalise(norm, x), inplace=not torch.is_grad_enabled())


class ResnetBlock(nn.Module):
    """Two convolutions, each after norm and swish, beside a skip connection (1x1 where the width changes)."""

    def __init__(self, channels: int, out_channels: int, dropout: float):
        super().__init__()
        self.norm1 = norm_layer(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = norm_layer(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.widens = channels != out_channels
        if self.widens:
            self.nin_shortcut = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, normalise: Normalise = whole) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W)."""
        # one name throughout: each map is let go before the next but one is made
        h = activated(self.norm1, x, normalise)
        h = self.conv1(h)
        h = self.dropout(activated(self.norm2, h, normalise))
        h = self.conv2(h)
        # in place: the gradient of a convolution does not need its result
        return h.add_(self.nin_shortcut(x) if self.widens else x)


class Attention(nn.Module):
    """Residual self-attention of one head over all positions."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm_layer(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        b, c, height, width = x.shape
        normed = self.norm(x)
        # channels last: no copy where the features are kept that way
        q, k, v = (layer(normed).permute(0, 2, 3, 1).reshape(b, 1, -1, c) for layer in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v)  # (B, 1, H W, C)
        return x + self.proj_out(mixed.reshape(b, height, width, c).permute(0, 3, 1, 2))


class LinearAttention(nn.Module):
    """Attention of one head whose cost is linear in the positions (Shen et al. 2018); no norm and no skip."""

    def __init__(self, channels: int):
        super().__init__()
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.to_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        q, k, v = self.to_qkv(x).flatten(2).chunk(3, dim=1)  # (B, C, H W)
        context = k.softmax(dim=-1) @ v.transpose(1, 2)  # (B, C of k, C of v)
        return self.to_out((context.transpose(1, 2) @ q).reshape(x.shape))


class Downsample(nn.Module):
    """Halving by a convolution padded at the right and the bottom only, or by averages."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.with_conv = with_conv
        if with_conv:
            self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H / 2, W / 2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1))) if self.with_conv else F.avg_pool2d(x, 2)


def doubled_and_convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Nearest-neighbour doubling and a 3x3 convolution in one step.

    Each result sees only 2x2 positions of x, so a transposed convolution with sums of kernels gives it by 4/9 of the
    work and without the doubled features in memory. It is the faster way on CPUs.

    Args:
        x: (B, C, H, W).
        weight: (D, C, 3, 3).
        bias: (D,), or None.

    Returns:
        (B, D, 2 H, 2 W).
    """
    sums = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
    return F.conv_transpose2d(x, torch.einsum("am,oimn,bn->ioab", sums, weight, sums), bias, stride=2, padding=1)


class Upsample(nn.Module):
    """Nearest-neighbour doubling, then a convolution or nothing."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.with_conv = with_conv
        if with_conv:
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2 H, 2 W)."""
        if self.with_conv and x.device.type == "cpu":
            return doubled_and_convolved(x, self.conv.weight, self.conv.bias)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv(x) if self.with_conv else x


class Middle(nn.Module):
    """The blocks at the smallest size."""

    def __init__(self, structure: Structure, channels: int):
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, structure.dropout)
        self.attn_1 = structure.attention(channels)
        self.block_2 = ResnetBlock(channels, channels, structure.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """The residual blocks of one size, each followed by attention where the level has it."""

    downsample: Downsample
    upsample: Upsample

    def __init__(self, structure: Structure, level: int, channels: int, blocks: int):
        super().__init__()
        width = structure.widths[level]
        self.block, self.attn = nn.ModuleList(), nn.ModuleList()
        for _ in range(blocks):
            self.block.append(ResnetBlock(channels, width, structure.dropout))
            channels = width
            if structure.attends(level):
                self.attn.append(structure.attention(channels))

    def forward(self, x: Tensor, normalise: Normalise = whole) -> Tensor:
        """(B, C, H, W) to (B, C of the level, H, W)."""
        for index, block in enumerate(self.block):
            x = block(x, normalise)
            if len(self.attn):
                x = self.attn[index](x)
        return x


class Encoder(nn.Module):
    """Pictures to features `factor` times smaller."""

    def __init__(self, structure: Structure):
        super().__init__()
        self.structure, widths = structure, structure.widths
        self.conv_in = nn.Conv2d(structure.in_channels, structure.ch, 3, padding=1)
        self.down = nn.ModuleList()
        for level, channels in enumerate([structure.ch, *widths[:-1]]):
            stage = Level(structure, level, channels, structure.num_res_blocks)
            if level < structure.levels - 1:
                stage.downsample = Downsample(widths[level], structure.resamp_with_conv)
            self.down.append(stage)
        self.mid = Middle(structure, widths[-1])
        self.norm_out = norm_layer(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], structure.z_channels * (1 + structure.double_z), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, z_channels or twice that, H / factor, W / factor)."""
        for level in range(self.structure.levels - 1):
            x = self.descend(x, level)
        return self.leave(x)

    def descend(self, x: Tensor, level: int, normalise: Normalise = whole) -> Tensor:
        """The blocks of a level and the halving after it."""
        stage = cast(Level, self.down[level])
        return stage.downsample(stage(self.conv_in(x) if level == 0 else x, normalise))

    def leave(self, x: Tensor) -> Tensor:
        """The last level and all that follows."""
        last = self.structure.levels - 1
        x = self.mid(self.down[last](self.conv_in(x) if last == 0 else x))
        return self.conv_out(activated(self.norm_out, x, whole))


class Decoder(nn.Module):
    """Features to pictures `factor` times larger."""

    def __init__(self, structure: Structure):
        super().__init__()
        self.structure, widths = structure, structure.widths
        self.conv_in = nn.Conv2d(structure.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(structure, widths[-1])
        stages, channels = [], widths[-1]
        for level in reversed(range(structure.levels)):
            stage = Level(structure, level, channels, structure.num_res_blocks + 1)
            channels = widths[level]
            if level > 0:
                stage.upsample = Upsample(channels, structure.resamp_with_conv)
            stages.append(stage)
        self.up = nn.ModuleList(reversed(stages))
        self.norm_out = norm_layer(channels)
        self.conv_out = nn.Conv2d(channels, structure.out_ch, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, z_channels, h, w) to (B, out_ch, h factor, w factor), or to features where `give_pre_end` is set."""
        x = self.enter(z)
        for level in reversed(range(self.structure.levels - 1)):
            x = self.doubled(x, level)  # under the same name, so that the smaller features are let go
            x = self.up[level](x)
        return self.finish(x)

    def enter(self, z: Tensor) -> Tensor:
        """The blocks at the smallest size."""
        if z.device.type == "cpu":
            # with channels last in memory, which all that follows keeps, convolutions need no copies of large maps
            z = z.contiguous(memory_format=torch.channels_last)
        return self.up[-1](self.mid(self.conv_in(z)))

    def climb(self, x: Tensor, level: int, normalise: Normalise = whole) -> Tensor:
        """The doubling after the level below, and the blocks of a level."""
        return self.up[level](self.doubled(x, level), normalise)

    def doubled(self, x: Tensor, level: int) -> Tensor:
        """Features of the level below at the size of a level."""
        return cast(Level, self.up[level + 1]).upsample(x)

    def finish(self, x: Tensor, normalise: Normalise = whole) -> Tensor:
        """The last convolution."""
        if self.structure.give_pre_end:
            return x
        x = self.conv_out(activated(self.norm_out, x, normalise))
        return x.tanh() if self.structure.tanh_out else x
