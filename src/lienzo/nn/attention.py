"""Attention over the positions of a picture, in both channel orders that public checkpoints use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lienzo.core.errors import BadInput
from lienzo.nn.normalisation import GroupNorm32


def split_qkv(qkv: Tensor, heads: int, heads_first: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (B, heads, T, C / heads), from their stacked channels (B, 3 C, T).

    With `heads_first` the channels count heads, then q/k/v (the legacy order of guided-diffusion); otherwise
    q/k/v, then heads (its "new attention order").
    """
    b, width, length = qkv.shape
    if heads_first:
        parts = qkv.reshape(b, heads, 3, width // (3 * heads), length).permute(2, 0, 1, 4, 3)
    else:
        parts = qkv.reshape(b, 3, heads, width // (3 * heads), length).permute(1, 0, 2, 4, 3)
    # the fused kernels need the channels of a head side by side
    q, k, v = parts.contiguous()
    return q, k, v


def qkv_attention(qkv: Tensor, heads: int, heads_first: bool = True) -> Tensor:
    """Scaled dot-product attention of stacked queries, keys and values: (B, 3 C, T) to (B, C, T)."""
    q, k, v = split_qkv(qkv, heads, heads_first)
    mixed = F.scaled_dot_product_attention(q, k, v)  # (B, heads, T, C / heads)
    return mixed.transpose(2, 3).reshape(qkv.shape[0], -1, qkv.shape[2])


def count_heads(channels: int, num_heads: int, num_head_channels: int) -> int:
    """The number of heads: `num_heads`, or as many as have `num_head_channels` channels each unless that is -1.

    Raises:
        BadInput: the channels cannot be shared out evenly.
    """
    if num_head_channels == -1:
        if num_heads < 1 or channels % num_heads:
            raise BadInput(f"{channels} channels cannot be shared among {num_heads} attention heads.")
        return num_heads
    if num_head_channels < 1 or channels % num_head_channels:
        raise BadInput(f"{channels} channels cannot be cut into attention heads of {num_head_channels}.")
    return channels // num_head_channels


class AttentionBlock(nn.Module):
    """Residual self-attention over all positions of a feature map, with the keys norm, qkv and proj_out.

    Args:
        channels: width of the features.
        num_heads: number of heads, unless `num_head_channels` is given.
        num_head_channels: channels a head; -1 uses `num_heads`.
        use_new_attention_order: q/k/v before heads in the channels of qkv.
        use_checkpoint: compute the block again in the backward pass to save memory.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 1,
        num_head_channels: int = -1,
        use_new_attention_order: bool = False,
        use_checkpoint: bool = False,
    ):
        super().__init__()
        self.heads = count_heads(channels, num_heads, num_head_channels)
        self.heads_first = not use_new_attention_order
        self.use_checkpoint = use_checkpoint
        self.norm = GroupNorm32(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        for parameter in self.proj_out.parameters():  # the block starts as the identity
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        if self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._attend, x, use_reentrant=False)
        return self._attend(x)

    def _attend(self, x: Tensor) -> Tensor:
        flat = x.reshape(x.shape[0], x.shape[1], -1)  # (B, C, T)
        mixed = qkv_attention(self.qkv(self.norm(flat)), self.heads, self.heads_first)
        return (flat + self.proj_out(mixed)).reshape(x.shape)


class AttentionPool(nn.Module):
    """One vector from a feature map: the mean position asks all positions (the pool of CLIP's ResNets).

    Args:
        size: width and height of the feature map, which is fixed by the learned position embedding.
        channels: width of the features.
        num_head_channels: channels a head.
        out_features: width of the result.
        dims: spatial dimensions of the feature map.
    """

    def __init__(self, size: int, channels: int, num_head_channels: int, out_features: int, dims: int = 2):
        super().__init__()
        self.size = (size,) * dims
        self.heads = count_heads(channels, 1, num_head_channels)
        self.positional_embedding = nn.Parameter(torch.randn(channels, size**dims + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, size, size) to (B, out_features).

        Raises:
            BadInput: the feature map has another size than the position embedding.
        """
        if x.shape[2:] != self.size:
            raise BadInput(
                f"The attention pool was made for features of {_by(self.size)}, not {_by(x.shape[2:])}; "
                "give pictures of the size that the classifier was trained on."
            )
        flat = x.flatten(2)
        flat = torch.cat([flat.mean(dim=-1, keepdim=True), flat], dim=-1)  # (B, C, 1 + T)
        qkv = self.qkv_proj(flat + self.positional_embedding.to(flat.dtype))
        q, k, v = split_qkv(qkv, self.heads, heads_first=False)
        pooled = F.scaled_dot_product_attention(q[:, :, :1], k, v)  # (B, heads, 1, C / heads)
        return self.c_proj(pooled.reshape(x.shape[0], -1, 1))[:, :, 0]


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in sizes)
