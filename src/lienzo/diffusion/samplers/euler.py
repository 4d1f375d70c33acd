"""Euler's method."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, denoise, pairs
from lienzo.nn.noise import Noise


def churn(
    x: Tensor, sigma: float, gamma: float, s_tmin: float, s_tmax: float, s_noise: float, noise: Noise
) -> tuple[Tensor, float]:
    """Raise x from sigma to sigma (1 + gamma) by fresh noise, if sigma lies in [s_tmin, s_tmax]."""
    if gamma == 0 or not s_tmin <= sigma <= s_tmax:
        return x, sigma
    raised = sigma * (1 + gamma)
    return x + noise(x) * (s_noise * (raised**2 - sigma**2) ** 0.5), raised


def sample_euler(
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
    """Algorithm 2 of Karras et al. 2022 (EDM) without its second-order correction; without churn it is DDIM.

    Order 1, one call a step. The plain baseline: robust, and the same picture for every step count sooner or later.

    Args:
        s_churn: noise put back, over the whole run, in steps of the flow; 0 is deterministic.
        s_tmin, s_tmax: the noise levels between which it is put back.
        s_noise: its deviation; slightly above 1 keeps detail.
    """
    gamma = min(s_churn / (len(sigmas) - 1), 2**0.5 - 1)
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        x, sigma = churn(x, sigma, gamma, s_tmin, s_tmax, s_noise, noise)
        denoised = denoise(model, x, sigma)
        x = x + (x - denoised) * ((following - sigma) / sigma)
        yield Step(index, following, x, denoised)
