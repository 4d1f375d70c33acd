"""The gated linear layer of the transformers of latent diffusion."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class GatedGelu(nn.Module):
    """GEGLU (Shazeer 2020): one half of a projection, times the exact GELU of the other half."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.proj = nn.Linear(channels, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) to (..., hidden)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)
