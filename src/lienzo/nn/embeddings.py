"""How a network is told the time: sinusoids of a timestep, and random Fourier features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput


def timestep_embedding(timesteps: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Cosines, then sines, of the timesteps at `dim // 2` frequencies from 1 down to nearly 1/`max_period`.

    Args:
        timesteps: (B,), integer or fractional, as the diffusion counts them (usually 0 to 1000).
        dim: width of the result; an odd width ends in a column of zeros.
        max_period: the longest period, in timesteps divided by 2 pi.

    Returns:
        (B, dim) float32, as in DDPM (Ho et al. 2020) and Improved DDPM (Nichol and Dhariwal 2021).
    """
    half = dim // 2
    exponents = -math.log(max_period) * torch.arange(half, dtype=torch.float32) / half
    angles = timesteps[:, None].float() * exponents.exp().to(timesteps.device)  # (B, half)
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return nn.functional.pad(embedding, (0, dim % 2))


class FourierFeatures(nn.Module):
    """Cosines and sines of random projections of the input (Tancik et al. 2020).

    Args:
        in_features: width of the input.
        out_features: width of the result, even.
        std: spread of the random frequencies, in periods a unit of input.

    Raises:
        BadInput: `out_features` is odd.
    """

    def __init__(self, in_features: int, out_features: int, std: float = 1.0):
        super().__init__()
        if out_features % 2:
            raise BadInput(f"Fourier features come in pairs; {out_features} is odd.")
        self.weight = nn.Parameter(torch.randn(out_features // 2, in_features) * std)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        angles = 2 * math.pi * x @ self.weight.T
        return torch.cat([angles.cos(), angles.sin()], dim=-1)
