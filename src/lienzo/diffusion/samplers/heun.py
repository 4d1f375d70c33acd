"""Heun's method."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.euler import churn
from lienzo.diffusion.samplers.steps import Step, denoise, pairs
from lienzo.nn.noise import Noise


def sample_heun(
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
    """Algorithm 2 of Karras et al. 2022 (EDM): the slope is the mean of those at both ends of the step.

    Order 2, two calls a step (one in the step to 0). The choice of EDM: very accurate where calls are affordable.

    Args:
        s_churn, s_tmin, s_tmax, s_noise: as in `euler`.
    """
    gamma = min(s_churn / (len(sigmas) - 1), 2**0.5 - 1)
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        x, sigma = churn(x, sigma, gamma, s_tmin, s_tmax, s_noise, noise)
        denoised = denoise(model, x, sigma)
        slope = (x - denoised) / sigma
        if following > 0:
            ahead = x + slope * (following - sigma)
            slope = (slope + (ahead - denoise(model, ahead, following)) / following) / 2
        x = x + slope * (following - sigma)
        yield Step(index, following, x, denoised)
