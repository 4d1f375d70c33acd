"""Euler's method with the noise of DDPM."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, ancestral, denoise, pairs
from lienzo.nn.noise import Noise


def sample_euler_ancestral(
    model: Model, x: Tensor, sigmas: Tensor, *, eta: float = 1.0, s_noise: float = 1.0, noise: Noise = torch.randn_like
) -> Iterator[Step]:
    """Ancestral sampling of Ho et al. 2020 in the variance-exploding scaling; "Euler a".

    Order 1 (weak), one call a step. Lively pictures in 20 to 40 steps; the picture changes with the step count.

    Args:
        eta: share of the DDPM noise; 0 is `euler`.
        s_noise: deviation of the noise.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        down, up = ancestral(sigma, following, eta)
        denoised = denoise(model, x, sigma)
        x = x + (x - denoised) * ((down - sigma) / sigma)
        if up > 0:
            x = x + noise(x) * (s_noise * up)
        yield Step(index, following, x, denoised)
