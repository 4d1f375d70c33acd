"""A codebook between encoder and decoder: each vector becomes the nearest of a few.

VQ-VAE: van den Oord et al. 2017 (arXiv 1711.00937); the moving-average codebook is its appendix A.1. The gradient of
what is decoded goes straight through to what was encoded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

LAPLACE = 1e-5
"""Added to each code's count, so that one that nothing chose is never divided by 0."""


class Quantized(NamedTuple):
    """Vectors after the codebook.

    Attributes:
        z: (B, D, H, W), equal to the chosen codes; its gradient is passed to the vectors before.
        indices: (B, H, W) int64.
        commitment: (B, H, W), squared distance of each vector from its code, mean over D; moves the encoder.
        codebook: the same, moving the codes; 0 where moving averages do.
    """

    z: Tensor
    indices: Tensor
    commitment: Tensor
    codebook: Tensor


class Codebook(nn.Module):
    """Codes that learn by gradient.

    Args:
        size: number of codes.
        dim: their length.
    """

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.embeddings = nn.Embedding(size, dim)
        nn.init.uniform_(self.embeddings.weight, -1 / size, 1 / size)

    @property
    def codes(self) -> Tensor:
        """(size, dim)."""
        return self.embeddings.weight

    def forward(self, z: Tensor) -> Quantized:
        """Vectors (B, D, H, W) to their nearest codes."""
        rows = z.movedim(1, -1)  # (B, H, W, D)
        indices = nearest(rows, self.codes)
        chosen = self.codes[indices]
        commitment = (chosen.detach() - rows).square().mean(-1)
        codebook = (chosen - rows.detach()).square().mean(-1)
        return Quantized(straight_through(rows, chosen).movedim(-1, 1), indices, commitment, codebook)


class EmaCodebook(nn.Module):
    """Codes that are moving averages of the vectors that chose them; they change in each training pass.

    With several processes, all see the vectors of all.

    Args:
        size: number of codes.
        dim: their length.
        decay: share of the average that stays in each pass.
    """

    def __init__(self, size: int, dim: int, decay: float = 0.99):
        super().__init__()
        self.decay = decay
        codes = torch.empty(size, dim).uniform_(-1 / size, 1 / size)
        self.register_buffer("embeddings", codes)
        self.register_buffer("ema_embed", codes.clone())
        self.register_buffer("cluster_size", torch.ones(size))  # so that a code that nothing chooses stays
        self.embeddings: Tensor
        self.ema_embed: Tensor
        self.cluster_size: Tensor

    @property
    def codes(self) -> Tensor:
        """(size, dim)."""
        return self.embeddings

    def forward(self, z: Tensor) -> Quantized:
        """Vectors (B, D, H, W) to their nearest codes, which are then moved, if training."""
        rows = z.movedim(1, -1).float()  # (B, H, W, D)
        indices = nearest(rows, self.codes)
        chosen = self.codes[indices]
        commitment = (chosen - rows).square().mean(-1)
        if self.training:
            self._move(rows.detach().flatten(0, -2), indices.flatten())
        passed = straight_through(rows, chosen).movedim(-1, 1)
        return Quantized(passed, indices, commitment, torch.zeros_like(commitment))

    @torch.no_grad()
    def _move(self, rows: Tensor, indices: Tensor) -> None:
        counts = torch.zeros_like(self.cluster_size).index_add_(0, indices, rows.new_ones(len(rows)))
        sums = torch.zeros_like(self.ema_embed).index_add_(0, indices, rows)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
            torch.distributed.all_reduce(sums)
        self.cluster_size.lerp_(counts, 1 - self.decay)
        self.ema_embed.lerp_(sums, 1 - self.decay)
        total, size = self.cluster_size.sum(), len(self.cluster_size)
        self.cluster_size.add_(LAPLACE).mul_(total / (total + size * LAPLACE))
        self.embeddings.copy_(self.ema_embed / self.cluster_size[:, None])


def nearest(rows: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code (K, D) for each row (..., D)."""
    flat = rows.detach().flatten(0, -2)
    distances = flat.square().sum(1, keepdim=True) - 2 * flat @ codes.detach().T + codes.detach().square().sum(1)
    return distances.argmin(1).unflatten(0, rows.shape[:-1])


def straight_through(before: Tensor, after: Tensor) -> Tensor:
    """The value of `after` with its gradient given to `before`."""
    return before + (after - before).detach()
