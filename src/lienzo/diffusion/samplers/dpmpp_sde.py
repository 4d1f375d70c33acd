"""DPM-Solver++ for the reverse SDE, single-step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, ancestral, denoise, pairs
from lienzo.nn.noise import Noise


def sample_dpmpp_sde(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 1 / 2,
    path: Literal["brownian", "independent"] = "brownian",
    noise: Noise = torch.randn_like,
) -> Iterator[Step]:
    """DPM-Solver++ (Lu et al. 2022b) with noise in both of its stages; k-diffusion's "DPM++ SDE".

    Two calls a step (one in the step to 0). Good pictures in 10 to 15 steps, with `karras` noise levels.

    Args:
        eta: share of the DDPM noise; 0 is deterministic.
        s_noise: deviation of the noise.
        r: where the inner stage lies, as a share of the step in log sigma; above 0, at most 1.
        path: how the noises of the two stages belong together: ``brownian`` lays both on one path, as k-diffusion's
            Brownian tree does, and is far more accurate; ``independent`` draws them apart.
    """
    if not 0 < r <= 1:
        raise BadInput(f"Option 'r' of the sampler 'dpmpp_sde' was {r}; it should be above 0 and at most 1.")
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised = told = denoise(model, x, sigma)
        fresh: Tensor | None = None
        share = 0.0  # how much of the step's noise is that of the inner stage
        if following > 0:
            inner = sigma ** (1 - r) * following**r
            down, up = ancestral(sigma, inner, eta)
            ahead = denoised + (x - denoised) * (down / sigma)
            if up > 0:
                fresh = noise(x)
                share = (sigma - inner) / (sigma - following) if path == "brownian" else 0.0
                ahead = ahead + fresh * (s_noise * up)
            told = denoised + (denoise(model, ahead, inner) - denoised) / (2 * r)
        down, up = ancestral(sigma, following, eta)
        x = told + (x - told) * (down / sigma)
        if up > 0:
            later = noise(x)
            later = later if fresh is None else fresh * share**0.5 + later * (1 - share) ** 0.5
            x = x + later * (s_noise * up)
        yield Step(index, following, x, denoised)
