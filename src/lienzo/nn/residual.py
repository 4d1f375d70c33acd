"""Residual blocks that are told the time and may change the resolution, for signals of 1, 2 or 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lienzo.core.errors import BadInput
from lienzo.nn.normalisation import GroupNorm32

CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


def convolution(
    dims: int, channels: int, out_channels: int, kernel: int = 3, stride: int | tuple[int, ...] = 1
) -> nn.Module:
    """A convolution over `dims` spatial dimensions that keeps the size at stride 1.

    Raises:
        BadInput: `dims` is not 1, 2 or 3.
    """
    if dims not in CONVOLUTIONS:
        raise BadInput(f"Signals have 1, 2 or 3 dimensions here, not {dims}.")
    return CONVOLUTIONS[dims](channels, out_channels, kernel, stride=stride, padding=kernel // 2)


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all its parameters set to zero, so that a residual branch starts silent."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def cast_convolutions(modules: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Convert the convolutions inside `modules` in place; norms and linear layers keep their precision."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                layer.to(dtype)


class Upsample(nn.Module):
    """Nearest-neighbour doubling, with an optional convolution `conv`. In 3-D the first axis keeps its size."""

    def __init__(self, channels: int, use_conv: bool, dims: int = 2):
        super().__init__()
        self.scale = (1.0, 2.0, 2.0) if dims == 3 else (2.0,) * dims
        if use_conv:
            self.conv = convolution(dims, channels, channels)
        self.use_conv = use_conv

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2 H, 2 W)."""
        x = F.interpolate(x, scale_factor=self.scale, mode="nearest")
        return self.conv(x) if self.use_conv else x


class Downsample(nn.Module):
    """Halving by a strided convolution, or by averaging. In 3-D the first axis keeps its size.

    An odd size is rounded up by the convolution and down by the average.
    """

    def __init__(self, channels: int, use_conv: bool, dims: int = 2):
        super().__init__()
        stride = (1, 2, 2) if dims == 3 else 2
        if use_conv:
            self.op = convolution(dims, channels, channels, stride=stride)
        else:
            self.op = POOLS[dims](stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H / 2, W / 2)."""
        return self.op(x)


class EmbeddedBlock(nn.Module):
    """A block whose forward takes an embedding (of the time, and perhaps of a class) beside the features."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Features (B, C, ...) and embedding (B, E) to features."""
        raise NotImplementedError


class EmbeddedSequential(nn.Sequential):
    """Layers in a row; those that are `EmbeddedBlock`s are given the embedding too."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]
        """Features (B, C, ...) and embedding (B, E) to features."""
        for layer in self:
            x = layer(x, emb) if isinstance(layer, EmbeddedBlock) else layer(x)
        return x


class ResBlock(EmbeddedBlock):
    """The residual block of ADM (Dhariwal and Nichol 2021), with its public keys.

    Args:
        channels: width of the input.
        emb_channels: width of the embedding.
        out_channels: width of the output; None keeps it.
        dropout: share of the features dropped before the last convolution.
        use_conv: change the width of the skip by a 3x3 convolution instead of a 1x1.
        use_scale_shift_norm: the embedding scales and shifts the second norm instead of being added before it.
            What is added to a block 32 channels wide is lost: its norm then has one channel a group.
        dims: spatial dimensions, 1 to 3.
        use_checkpoint: compute the block again in the backward pass to save memory.
        up, down: double or halve the size inside the block (averaging pool, nearest neighbour).
    """

    def __init__(
        self,
        channels: int,
        emb_channels: int,
        out_channels: int | None = None,
        *,
        dropout: float = 0.0,
        use_conv: bool = False,
        use_scale_shift_norm: bool = False,
        dims: int = 2,
        use_checkpoint: bool = False,
        up: bool = False,
        down: bool = False,
    ):
        super().__init__()
        width = out_channels or channels
        self.use_scale_shift_norm = use_scale_shift_norm
        self.use_checkpoint = use_checkpoint
        self.in_layers = nn.Sequential(GroupNorm32(channels), nn.SiLU(), convolution(dims, channels, width))
        self.resample: nn.Module | None = None
        if up or down:
            self.resample = (Upsample if up else Downsample)(channels, False, dims)
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(emb_channels, 2 * width if use_scale_shift_norm else width)
        )
        self.out_layers = nn.Sequential(
            GroupNorm32(width), nn.SiLU(), nn.Dropout(dropout), zeroed(convolution(dims, width, width))
        )
        self.skip_connection: nn.Module = nn.Identity()
        if width != channels:
            self.skip_connection = convolution(dims, channels, width, 3 if use_conv else 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Features (B, channels, ...) and embedding (B, emb_channels) to (B, out_channels, ...)."""
        if self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._forward, x, emb, use_reentrant=False)
        return self._forward(x, emb)

    def _forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers[:2](x)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.in_layers[2](h)
        emb = self.emb_layers(emb).to(h.dtype)
        emb = emb.reshape(*emb.shape, *[1] * (h.ndim - 2))  # (B, E, 1, 1)
        if self.use_scale_shift_norm:
            scale, shift = emb.chunk(2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + emb)
        return self.skip_connection(x) + h
