"""The spatial transformer of latent diffusion: a feature map that attends to itself and to a text.

Keys are those of the public checkpoints (Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
Models"; Stable Diffusion 1 and 2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lienzo.nn.gated import GatedGelu
from lienzo.nn.normalisation import GroupNorm32
from lienzo.nn.residual import zeroed

NARROW = 16


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (B, heads, T, C) to (B, heads, L, C); narrow heads are widened by zeros.

    On a CPU heads of 8 channels take half as long again as those of 16: its kernels multiply 16 columns at a time.
    """
    channels = q.shape[-1]
    if channels >= NARROW or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = (F.pad(each, (0, NARROW - channels)) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=channels**-0.5)[..., :channels]


class KeptContext:
    """A context (B, L, D) that is shown again at every step: layers read it once, and keep keys and values here.

    It is for one network, whose weights stay as they are, and carries no gradient to weights or context.
    """

    def __init__(self, states: Tensor):
        self.states = states
        self._read: dict[CrossAttention, tuple[Tensor, Tensor]] = {}

    def keys_values(self, layer: CrossAttention) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, L, C / heads) of one layer."""
        if layer not in self._read:
            with torch.no_grad():
                self._read[layer] = layer.keys_values(self.states)
        return self._read[layer]

    def to(self, dtype: torch.dtype) -> KeptContext:
        """The same context, whose states are converted to `dtype` where they have another."""
        self.states = self.states.to(dtype)
        return self


Context = Tensor | KeptContext


class CrossAttention(nn.Module):
    """Attention of features (B, T, C) to a context (B, L, D), or to themselves where there is none.

    Queries, keys and values have no bias.

    Args:
        channels: width C of the features.
        heads: number of heads.
        head_channels: channels a head; together they may differ from C.
        context_channels: width D of the context; None for attention to the features themselves.
    """

    def __init__(self, channels: int, heads: int, head_channels: int, context_channels: int | None = None):
        super().__init__()
        inner, source = heads * head_channels, channels if context_channels is None else context_channels
        self.heads = heads
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_k = nn.Linear(source, inner, bias=False)
        self.to_v = nn.Linear(source, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, channels), nn.Dropout(0.0))

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """(B, T, C) and perhaps (B, L, D) to (B, T, C)."""
        if isinstance(context, KeptContext):
            k, v = context.keys_values(self)
        else:
            k, v = self.keys_values(x if context is None else context)
        return self.to_out(attend(self._split(self.to_q(x)), k, v).transpose(1, 2).flatten(2))

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """What is attended to, (B, L, D), as keys and values (B, heads, L, C / heads)."""
        return self._split(self.to_k(source)), self._split(self.to_v(source))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, C / heads)


class FeedForward(nn.Module):
    """A gated MLP, four times as wide inside."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(GatedGelu(channels, 4 * channels), nn.Dropout(0.0), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) to the same shape."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Attention to itself, attention to the context, MLP; each after a norm and added to its input.

    Args:
        channels: width of the tokens.
        heads: attention heads.
        head_channels: channels a head.
        context_channels: width of the context.
        use_checkpoint: compute the block again in the backward pass to save memory.
        disable_self_attn: the first attention looks at the context too (the x4 upscaler of Stable Diffusion 2).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        head_channels: int,
        context_channels: int,
        use_checkpoint: bool = False,
        disable_self_attn: bool = False,
    ):
        super().__init__()
        self.use_checkpoint, self.disable_self_attn = use_checkpoint, disable_self_attn
        self.attn1 = CrossAttention(channels, heads, head_channels, context_channels if disable_self_attn else None)
        self.ff = FeedForward(channels)
        self.attn2 = CrossAttention(channels, heads, head_channels, context_channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Tokens (B, T, C) and context (B, L, D) to (B, T, C)."""
        if self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._forward, x, context, use_reentrant=False)
        return self._forward(x, context)

    def _forward(self, x: Tensor, context: Context) -> Tensor:
        # a sum is laid out in memory as its first term: tokens side by side, as linear layers like them
        x = self.attn1(self.norm1(x), context if self.disable_self_attn else None) + x
        x = self.attn2(self.norm2(x), context) + x
        return self.ff(self.norm3(x)) + x


class ContextBlock(nn.Module):
    """A block whose forward takes a context beside the features."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Features (B, C, ...) and context (B, L, D) to features."""
        raise NotImplementedError


class SpatialTransformer(ContextBlock):
    """Transformer blocks over the positions of a feature map, as one residual branch.

    Its group norm has eps 1e-6, unlike the 1e-5 of the residual blocks around it.

    Args:
        channels: width of the feature map.
        heads: attention heads.
        head_channels: channels a head; `heads * head_channels` is the width of the tokens.
        depth: number of transformer blocks.
        context_channels: width of the context.
        use_linear: project by linear layers, as Stable Diffusion 2 and later; by 1x1 convolutions otherwise.
        use_checkpoint: compute the blocks again in the backward pass to save memory.
        disable_self_attn: the blocks attend to the context only.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        head_channels: int,
        depth: int,
        context_channels: int,
        use_linear: bool = False,
        use_checkpoint: bool = False,
        disable_self_attn: bool = False,
    ):
        super().__init__()
        inner = heads * head_channels
        self.use_linear = use_linear
        self.norm = GroupNorm32(channels, eps=1e-6)
        self.proj_in: nn.Module = nn.Linear(channels, inner) if use_linear else nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(inner, heads, head_channels, context_channels, use_checkpoint, disable_self_attn)
            for _ in range(depth)
        )
        self.proj_out = zeroed(nn.Linear(inner, channels) if use_linear else nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Features (B, C, H, W) and context (B, L, D) to features (B, C, H, W)."""
        height, width = x.shape[2:]
        h = self.norm(x)
        if self.use_linear:
            h = self.proj_in(h.flatten(2).transpose(1, 2))  # (B, H W, inner)
        else:
            h = self.proj_in(h).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            h = block(h, context)
        # the tokens come back with channels last in memory, and so they stay in the layers that follow
        if self.use_linear:
            return self.proj_out(h).unflatten(1, (height, width)).permute(0, 3, 1, 2) + x
        return self.proj_out(h.reshape(len(h), height, width, -1).permute(0, 3, 1, 2)) + x
