"""Swin transformer blocks: attention inside windows that shift from block to block (Liu et al. 2021, arXiv:2103.14030).

Parameters and buffers keep the key names of the public SwinIR checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lienzo.core.errors import BadInput


def relative_position_index(window: int) -> Tensor:
    """Which row of the bias table holds for each pair of pixels of a window: int64, (window^2, window^2)."""
    with torch.device("cpu"):  # real values also in a network that is built on "meta"
        y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        place = torch.stack([y.flatten(), x.flatten()])  # (2, N)
        offset = place[:, :, None] - place[:, None, :] + window - 1  # (2, N, N), from 0 to 2 window - 2
        return offset[0] * (2 * window - 1) + offset[1]


@lru_cache(maxsize=4)
def shift_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """What shifted windows must not see: 0 for pairs of true neighbours, -100 for pairs joined by the wrap-around.

    Returns:
        float32, (windows, window^2, window^2), windows in row order. The last few sizes are kept.
    """

    def region(size: int) -> Tensor:  # 0: body, 1: last window before the cut, 2: wrapped around
        steps = torch.arange(size)
        return (steps >= size - window).long() + (steps >= size - shift).long()

    # Kept for later callers, so it must not depend on the modes of the first one.
    with torch.inference_mode(False), torch.device("cpu"):
        regions = region(height)[:, None] * 3 + region(width)[None]
        regions = regions.view(height // window, window, width // window, window).transpose(1, 2)
        regions = regions.reshape(-1, window * window)
        return (regions[:, :, None] != regions[:, None, :]) * -100.0


@dataclass(frozen=True)
class BlockOptions:
    """What all transformer blocks of one network share; `resolution` is the (H, W) whose mask is stored."""

    dim: int
    resolution: tuple[int, int]
    window: int
    mlp_ratio: float
    qkv_bias: bool
    qk_scale: float | None
    drop: float
    attn_drop: float
    connection: str


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, drop the branch of a picture with probability `rate`."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.rate or not self.training:
            return x
        keep = 1.0 - self.rate
        kept = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), device=x.device) < keep
        return x * kept.to(x.dtype) / keep


class WindowAttention(nn.Module):
    """Self-attention inside windows of N pixels with a learned bias for each relative position."""

    def __init__(self, options: BlockOptions, heads: int, window: int):
        super().__init__()
        dim = options.dim
        if dim % heads:
            raise BadInput(f"embed_dim {dim} cannot be split evenly into {heads} heads.")
        self.heads, self.window = heads, window
        self.scale = options.qk_scale or (dim // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = nn.Linear(dim, 3 * dim, bias=options.qkv_bias)
        self.attn_drop = nn.Dropout(options.attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(options.drop)

    def bias(self, mask: Tensor | None) -> Tensor:
        """Additive logits (1 or windows, heads, N, N)."""
        n = self.window**2
        rows = self.relative_position_bias_table.index_select(0, self.relative_position_index.flatten())
        bias = rows.view(1, n, n, self.heads).permute(0, 3, 1, 2)
        return bias if mask is None else bias + mask[:, None].to(bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        count, n, dim = x.shape  # count = B * windows
        bias = self.bias(mask)
        qkv = self.qkv(x).view(-1, bias.shape[0], n, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each (B, windows, heads, N, dim / heads)
        if (torch.is_grad_enabled() and not x.is_cuda) or (self.training and self.attn_drop.p):
            # On a CPU this backward pass is a third faster than the one of the fused attention.
            logits = (q * self.scale) @ k.transpose(-2, -1) + bias
            out = self.attn_drop(logits.softmax(-1)).to(v.dtype) @ v
        else:
            q, k, v = (part.flatten(1, 2) for part in (q, k, v))
            bias = bias.flatten(0, 1)[None].to(q.dtype)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
            out = out.unflatten(1, (-1, self.heads))
        out = out.transpose(2, 3).reshape(count, n, dim)
        return self.proj_drop(self.proj(out))


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, hidden: int, drop: float):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class SwinBlock(nn.Module):
    """One transformer block over windows, which are shifted by half a window where `shifted`."""

    def __init__(self, options: BlockOptions, heads: int, shifted: bool, drop_path: float):
        super().__init__()
        window, shift = options.window, options.window // 2 if shifted else 0
        if min(options.resolution) <= window:  # one window covers the picture: nothing to shift
            window, shift = min(options.resolution), 0
        self.window, self.shift, self.resolution = window, shift, options.resolution
        self.norm1 = nn.LayerNorm(options.dim)
        self.attn = WindowAttention(options, heads, window)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(options.dim)
        self.mlp = Mlp(options.dim, int(options.dim * options.mlp_ratio), options.drop)
        self.attn_mask: Tensor | None
        self.register_buffer("attn_mask", self.stored_mask())

    def stored_mask(self) -> Tensor | None:
        """The mask that public checkpoints carry: the one of the training picture size."""
        height, width = self.resolution
        if not self.shift:
            return None
        if height % self.window or width % self.window:
            raise BadInput(f"img_size {height} x {width} is not a multiple of the window of {self.window} pixels.")
        if torch.get_default_device().type == "meta":
            return torch.empty(height * width // self.window**2, self.window**2, self.window**2)
        return shift_mask(height, width, self.window, self.shift).clone()

    def mask(self, height: int, width: int) -> Tensor | None:
        """The mask for a picture of this size, None where no window is shifted."""
        if (height, width) == self.resolution or not self.shift:
            return self.attn_mask
        return shift_mask(height, width, self.window, self.shift).to(self.norm1.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, dim = x.shape
        y, w, shift = self.norm1(x), self.window, self.shift
        if shift:
            y = y.roll((-shift, -shift), (1, 2))
        y = y.view(-1, height // w, w, width // w, w, dim).transpose(2, 3)
        y = self.attn(y.reshape(-1, w * w, dim), self.mask(height, width))
        y = y.view(-1, height // w, width // w, w, w, dim).transpose(2, 3).reshape(x.shape)
        if shift:
            y = y.roll((shift, shift), (1, 2))
        x = x + self.drop_path(y)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class BlockGroup(nn.Module):
    """The blocks of one stage, every second one shifted. (B, H, W, C) to the same."""

    def __init__(self, options: BlockOptions, heads: int, drop_paths: Sequence[float], use_checkpoint: bool):
        super().__init__()
        self.use_checkpoint = use_checkpoint
        self.blocks = nn.ModuleList(SwinBlock(options, heads, i % 2 == 1, rate) for i, rate in enumerate(drop_paths))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.use_checkpoint else block(x)
        return x
