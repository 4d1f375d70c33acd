"""DPM-Solver-2 in the form of k-diffusion, plain and ancestral."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.euler import churn
from lienzo.diffusion.samplers.steps import Step, ancestral, denoise, pairs
from lienzo.nn.noise import Noise


def sample_dpm_2(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    noise: Noise = torch.randn_like,
) -> Iterator[Step]:
    """DPM-Solver-2 (Lu et al. 2022a) with the churn of EDM's algorithm 2: the slope at the middle in log sigma.

    Order 2, two calls a step (one in the step to 0). Much like `heun`.

    Args:
        s_churn, s_tmin, s_tmax, s_noise: as in `euler`.
    """
    gamma = min(s_churn / (len(sigmas) - 1), 2**0.5 - 1)
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        x, sigma = churn(x, sigma, gamma, s_tmin, s_tmax, s_noise, noise)
        denoised = denoise(model, x, sigma)
        x = x + _slope_at_middle(model, x, denoised, sigma, following) * (following - sigma)
        yield Step(index, following, x, denoised)


def sample_dpm_2_ancestral(
    model: Model, x: Tensor, sigmas: Tensor, *, eta: float = 1.0, s_noise: float = 1.0, noise: Noise = torch.randn_like
) -> Iterator[Step]:
    """`dpm_2` to a lower level, then fresh noise up to the wanted one, as in `euler_ancestral`.

    Two calls a step (one in the step to 0).

    Args:
        eta: share of the DDPM noise; 0 is `dpm_2`.
        s_noise: deviation of the noise.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        down, up = ancestral(sigma, following, eta)
        denoised = denoise(model, x, sigma)
        x = x + _slope_at_middle(model, x, denoised, sigma, down) * (down - sigma)
        if up > 0:
            x = x + noise(x) * (s_noise * up)
        yield Step(index, following, x, denoised)


def _slope_at_middle(model: Model, x: Tensor, denoised: Tensor, sigma: float, following: float) -> Tensor:
    slope = (x - denoised) / sigma
    if following == 0:
        return slope
    middle = (sigma * following) ** 0.5
    ahead = x + slope * (middle - sigma)
    return (ahead - denoise(model, ahead, middle)) / middle
