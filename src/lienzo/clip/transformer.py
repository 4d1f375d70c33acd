"""The transformers of CLIP: residual blocks, the vision transformer and the text tower, in OpenAI's key layout."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.core.errors import BadInput


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation of GELU that OpenAI trained CLIP with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection; its keys are those of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        if heads < 1 or width % heads:
            raise BadInput(f"A width of {width} cannot be divided among {heads} heads.")
        self.heads = heads
        self.causal = causal
        self.in_proj_weight = nn.Parameter(width**-0.5 * torch.randn(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, L, 3W)
        q, k, v = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (B, H, L, W/H)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y.transpose(1, 2).reshape(batch, length, width))

    def first(self, x: Tensor) -> Tensor:
        """What `forward` gives for the first place alone, (B, W), where it may see all places."""
        batch, length, width = x.shape
        q = F.linear(x[:, :1], self.in_proj_weight[:width], self.in_proj_bias[:width])
        kv = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])  # (B, L, 2W)
        k, v = kv.view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (B, H, L, W/H)
        q = q.view(batch, 1, self.heads, -1).transpose(1, 2)  # (B, H, 1, W/H)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).reshape(batch, width))


class MLP(nn.Module):
    """Linear, activation, linear."""

    def __init__(self, width: int, hidden: int, quick_gelu: bool):
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.gelu = QuickGELU() if quick_gelu else nn.GELU()
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    """A pre-norm residual block: attention, then the MLP."""

    def __init__(self, width: int, heads: int, hidden: int, quick_gelu: bool, causal: bool):
        super().__init__()
        self.attn = Attention(width, heads, causal)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden, quick_gelu)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))

    def first(self, x: Tensor) -> Tensor:
        """What `forward` gives for the first place alone, (B, W), in a sixth of the work."""
        y = x[:, 0] + self.attn.first(self.ln_1(x))
        return y + self.mlp(self.ln_2(y))


class Transformer(nn.Module):
    """A stack of blocks, (B, L, W) to (B, L, W)."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int | None, quick_gelu: bool, causal: bool = False):
        super().__init__()
        hidden = 4 * width if hidden is None else hidden
        self.resblocks = nn.ModuleList(Block(width, heads, hidden, quick_gelu, causal) for _ in range(layers))
        self._start(width, layers)

    def _start(self, width: int, layers: int) -> None:
        """Start small towards the residual stream, so that its variance does not grow with depth."""
        for block in self.resblocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=(2 * layers * width) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=(2 * layers * width) ** -0.5)

    def forward(self, x: Tensor, skip: int = 0) -> Tensor:
        """`skip` leaves that many of the last blocks out."""
        for block in islice(self.resblocks, len(self.resblocks) - skip):
            x = block(x)
        return x


class VisionTransformer(nn.Module):
    """ViT with a class token and norms before and after the blocks (Dosovitskiy et al., arXiv:2010.11929).

    Images (B, 3, image_resolution, image_resolution), normalised, to embeddings (B, embed_dim).
    """

    def __init__(
        self,
        *,
        image_resolution: int,
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        embed_dim: int,
        mlp_width: int | None = None,
        quick_gelu: bool = True,
    ):
        super().__init__()
        if not 1 <= patch_size <= image_resolution:
            raise BadInput(f"A patch of {patch_size} pixels does not fit an image of {image_resolution}.")
        self.image_resolution = image_resolution
        grid = image_resolution // patch_size
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(grid**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, mlp_width, quick_gelu)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv1(image).flatten(2).transpose(1, 2)  # (B, grid^2, W)
        if x.shape[1] + 1 != self.positional_embedding.shape[0]:
            size, (height, width) = self.image_resolution, image.shape[-2:]
            raise BadInput(f"The image is {width} x {height}; this CLIP reads {size} x {size} pixels.")
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        x = torch.cat([first, x], dim=1) + self.positional_embedding  # (B, grid^2 + 1, W)
        x = self.transformer(self.ln_pre(x), skip=1)
        last = self.transformer.resblocks[-1]
        assert isinstance(last, Block)
        return self.ln_post(last.first(x)) @ self.proj  # (B, D); only the class token is read


class TextTower(nn.Module):
    """CLIP's causal text transformer. Tokens (B, L <= context_length) to states (B, L, W) or embeddings (B, D).

    Args:
        width: the width of the transformer.
        layers: its depth.
        heads: attention heads; `width // 64` when None.
        context_length: tokens a text.
        vocab_size: token ids.
        embed_dim: the width of the embedding; None for a tower without projection (Stable Diffusion 1).
        mlp_width: the hidden width of the MLPs; `4 * width` when None.
        quick_gelu: QuickGELU as OpenAI, or the exact GELU as many later checkpoints.
    """

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int | None = None,
        context_length: int = 77,
        vocab_size: int = 49408,
        embed_dim: int | None = None,
        mlp_width: int | None = None,
        quick_gelu: bool = True,
    ):
        super().__init__()
        heads = default_heads(width) if heads is None else heads
        self.config: dict[str, Any] = {
            "width": width,
            "layers": layers,
            "heads": heads,
            "context_length": context_length,
            "vocab_size": vocab_size,
            "embed_dim": embed_dim,
            "mlp_width": mlp_width,
            "quick_gelu": quick_gelu,
        }
        self.context_length = context_length
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(context_length, width))
        self.transformer = Transformer(width, layers, heads, mlp_width, quick_gelu, causal=True)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = None if embed_dim is None else nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def text_states(self, tokens: Tensor, skip: int = 0, norm: bool = True) -> Tensor:
        """One state a token, (B, L, W).

        Args:
            tokens: int64, (B, L).
            skip: leave out the last `skip` blocks; 1 is the "penultimate layer", "clip skip 2" of the field.
            norm: apply the final layer norm.

        Raises:
            BadInput: more tokens than the tower has positions, or more blocks skipped than there are.
        """
        length, blocks = tokens.shape[-1], len(self.transformer.resblocks)
        if length > self.context_length:
            raise BadInput(f"The text has {length} tokens; this text tower reads at most {self.context_length}.")
        if not 0 <= skip <= blocks:
            raise BadInput(f"{skip} blocks cannot be skipped; this text tower has {blocks}.")
        x = self.token_embedding(tokens) + self.positional_embedding[:length]  # (B, L, W)
        x = self.transformer(x, skip)
        return self.ln_final(x) if norm else x

    def encode_text(self, tokens: Tensor) -> Tensor:
        """The projected state at the end mark, (B, D), not normalised; (B, W) for a tower without projection.

        The end mark has the largest id of the vocabulary, so that its first place is the argmax of a row.
        """
        states = self.text_states(tokens)
        pooled = states[torch.arange(len(states), device=states.device), tokens.argmax(dim=-1)]  # (B, W)
        return pooled if self.text_projection is None else pooled @ self.text_projection


def default_heads(width: int) -> int:
    """The convention of OpenAI's checkpoints: heads of 64 channels, at least one."""
    return max(width // 64, 1)
