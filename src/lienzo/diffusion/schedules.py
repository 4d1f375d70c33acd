"""Noise schedules: how much noise each of the T forward steps adds, as float64 tables.

A schedule is a function of the number of steps that returns `betas`, the variances of the forward steps
q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t). `SCHEDULES` names them all. Everything else follows from
the running product alpha_bar_t = prod(1 - beta), here always called `alphas_cumprod`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names

SCHEDULES = Names(
    "noise schedule",
    {
        "linear": "lienzo.diffusion.schedules:linear",
        "cosine": "lienzo.diffusion.schedules:cosine",
        "sigmoid": "lienzo.diffusion.schedules:sigmoid",
        "ldm_linear": "lienzo.diffusion.schedules:ldm_linear",
        "ldm_sqrt_linear": "lienzo.diffusion.schedules:ldm_sqrt_linear",
        "ldm_sqrt": "lienzo.diffusion.schedules:ldm_sqrt",
        "ldm_cosine": "lienzo.diffusion.schedules:cosine",
        "stable_diffusion": "lienzo.diffusion.schedules:stable_diffusion",
    },
)


def make_betas(name: str, num_timesteps: int = 1000) -> Tensor:
    """The betas of a named schedule with its published constants, float64 (T,), each in (0, 1).

    Raises:
        BadInput: no schedule has this name, or it cannot have so few steps.
    """
    return SCHEDULES.load(name)(num_timesteps)


def linear(num_timesteps: int, *, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """Evenly spaced betas (DDPM, Ho et al. 2020), multiplied by 1000/T so that T steps end as noisy as 1000 do.

    Args:
        num_timesteps: T; with the default `end` it must be above 20.
        start, end: the first and last beta of the 1000-step schedule.
    """
    scale = 1000 / _positive(num_timesteps)
    return _checked(torch.linspace(scale * start, scale * end, num_timesteps, dtype=torch.float64))


def cosine(num_timesteps: int, *, s: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """alpha_bar(u) = cos^2(pi/2 (u + s) / (1 + s)) (Improved DDPM, Nichol & Dhariwal 2021; "squaredcos_cap_v2").

    Args:
        num_timesteps: T.
        s: offset that keeps the first betas from vanishing.
        max_beta: cap on beta, reached near t = T where alpha_bar goes to zero.
    """
    u = torch.arange(_positive(num_timesteps) + 1, dtype=torch.float64) / num_timesteps
    alpha_bar = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2  # (T + 1,)
    return _checked((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta))


def sigmoid(num_timesteps: int, *, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """Betas along a logistic curve over [-6, 6] (GeoDiff, Xu et al. 2022), scaled by 1000/T as `linear` is."""
    scale = 1000 / _positive(num_timesteps)
    curve = torch.linspace(-6, 6, num_timesteps, dtype=torch.float64).sigmoid()
    return _checked(scale * (curve * (end - start) + start))


def ldm_linear(num_timesteps: int, *, start: float = 1e-4, end: float = 2e-2) -> Tensor:
    """Betas whose square roots are evenly spaced: what latent diffusion calls "linear", diffusers "scaled_linear".

    Unlike `linear` it is not scaled by 1000/T (Rombach et al. 2022).
    """
    return _checked(_line(num_timesteps, start**0.5, end**0.5) ** 2)


def ldm_sqrt_linear(num_timesteps: int, *, start: float = 1e-4, end: float = 2e-2) -> Tensor:
    """Evenly spaced betas, not scaled by 1000/T: what latent diffusion calls "sqrt_linear"."""
    return _checked(_line(num_timesteps, start, end))


def ldm_sqrt(num_timesteps: int, *, start: float = 1e-4, end: float = 2e-2) -> Tensor:
    """Square roots of evenly spaced numbers: what latent diffusion calls "sqrt"."""
    return _checked(_line(num_timesteps, start, end).sqrt())


def stable_diffusion(num_timesteps: int = 1000) -> Tensor:
    """Stable Diffusion 1 and 2: `ldm_linear` from 0.00085 to 0.012."""
    return ldm_linear(num_timesteps, start=0.00085, end=0.012)


def alphas_cumprod(betas: Tensor) -> Tensor:
    """alpha_bar_t = prod_{s <= t} (1 - beta_s), float64 (T,)."""
    return torch.cumprod(1 - betas.double(), dim=0)


def betas_from_alphas_cumprod(alpha_bar: Tensor) -> Tensor:
    """The betas that give these alphas_cumprod, float64 (T,). The inverse of `alphas_cumprod`."""
    alpha_bar = alpha_bar.double()
    before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    return 1 - alpha_bar / before


def sigma_from_alpha_bar(alpha_bar: Tensor) -> Tensor:
    """Noise level in variance-exploding scaling, sigma = sqrt((1 - alpha_bar) / alpha_bar); any shape.

    With it x_t / sqrt(alpha_bar) = x_0 + sigma * noise.
    """
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def alpha_bar_from_sigma(sigma: Tensor) -> Tensor:
    """alpha_bar = 1 / (1 + sigma^2); any shape. The inverse of `sigma_from_alpha_bar`."""
    return 1 / (1 + sigma**2)


def _line(num_timesteps: int, start: float, end: float) -> Tensor:
    return torch.linspace(start, end, _positive(num_timesteps), dtype=torch.float64)


def _positive(num_timesteps: int) -> int:
    if num_timesteps < 1:
        raise BadInput(f"A noise schedule cannot have {num_timesteps} steps; give it 1 or more.")
    return num_timesteps


def _checked(betas: Tensor) -> Tensor:
    if not bool(((betas > 0) & (betas < 1)).all()):
        raise BadInput(
            f"A noise schedule of {len(betas)} steps would need betas from {betas.min():.4g} to {betas.max():.4g}, "
            "which do not lie between 0 and 1; use more steps or the cosine schedule."
        )
    return betas
