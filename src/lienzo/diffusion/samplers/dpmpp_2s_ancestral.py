"""DPM-Solver++(2S) with ancestral noise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, ancestral, denoise, pairs
from lienzo.nn.noise import Noise


def sample_dpmpp_2s_ancestral(
    model: Model, x: Tensor, sigmas: Tensor, *, eta: float = 1.0, s_noise: float = 1.0, noise: Noise = torch.randn_like
) -> Iterator[Step]:
    """DPM-Solver++(2S), algorithm 1 of Lu et al. 2022b, to a lower level, then fresh noise as in `euler_ancestral`.

    Order 2 with eta = 0, two calls a step (one in the step to 0). Smoother than `euler_ancestral`, twice its price.

    Args:
        eta: share of the DDPM noise; 0 is deterministic.
        s_noise: deviation of the noise.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        down, up = ancestral(sigma, following, eta)
        denoised = told = denoise(model, x, sigma)
        if down > 0:
            middle = (sigma * down) ** 0.5
            told = denoise(model, denoised + (x - denoised) * (middle / sigma), middle)
        x = told + (x - told) * (down / sigma)
        if up > 0:
            x = x + noise(x) * (s_noise * up)
        yield Step(index, following, x, denoised)
