"""DPM-Solver++ with memory: 2M, and the stochastic 2M SDE and 3M SDE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, denoise, pairs
from lienzo.nn.noise import Noise


def sample_dpmpp_2m(model: Model, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    """DPM-Solver++(2M), algorithm 2 of Lu et al. 2022b: it extrapolates the clean picture from the last two.

    Order 2, one call a step. The best choice for few steps: 15 to 25, with `karras` noise levels.
    """
    return sample_dpmpp_2m_sde(model, x, sigmas, eta=0.0)


def sample_dpmpp_2m_sde(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver: Literal["midpoint", "heun"] = "midpoint",
    noise: Noise = torch.randn_like,
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M) of Lu et al. 2022b: `dpmpp_2m` for the reverse SDE.

    Order 2 in the drift, one call a step. Richer texture than `dpmpp_2m` from 25 steps on.

    Args:
        eta: share of the reverse SDE's noise; 0 is `dpmpp_2m`.
        s_noise: deviation of the noise.
        solver: which second-order correction; ``heun`` is nearer to the exact integral of a linear change.
    """
    earlier: Tensor | None = None
    earlier_h = 0.0
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised = denoise(model, x, sigma)
        if following == 0:
            yield Step(index, following, denoised, denoised)
            return
        h = math.log(sigma / following)
        rate = h * (1 + eta)
        weight = -math.expm1(-rate)
        x = x * (following / sigma * math.exp(-h * eta)) + denoised * weight
        if earlier is not None:
            correction = weight / 2 if solver == "midpoint" else 1 - weight / rate
            x = x + (denoised - earlier) * (correction * h / earlier_h)
        if eta > 0:
            x = x + noise(x) * (s_noise * following * (-math.expm1(-2 * h * eta)) ** 0.5)
        earlier, earlier_h = denoised, h
        yield Step(index, following, x, denoised)


def sample_dpmpp_3m_sde(
    model: Model, x: Tensor, sigmas: Tensor, *, eta: float = 1.0, s_noise: float = 1.0, noise: Noise = torch.randn_like
) -> Iterator[Step]:
    """SDE-DPM-Solver++(3M): `dpmpp_2m_sde` with a parabola through the last three clean pictures (k-diffusion, 2023).

    Order 3 in the drift after two lower steps, one call a step. For 30 steps and more, with `exponential` levels.

    Args:
        eta: share of the reverse SDE's noise; 0 is deterministic.
        s_noise: deviation of the noise.
    """
    past: list[tuple[Tensor, float]] = []  # (clean picture, h of the step that it began), latest first
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised = denoise(model, x, sigma)
        if following == 0:
            yield Step(index, following, denoised, denoised)
            return
        h = math.log(sigma / following)
        rate = h * (1 + eta)
        first = 1 + math.expm1(-rate) / rate
        x = x * math.exp(-rate) - denoised * math.expm1(-rate)
        if past:
            slope, bend = _differences(denoised, past, h)
            x = x + slope * first - bend * (first / rate - 0.5)
        if eta > 0:
            x = x + noise(x) * (s_noise * following * (-math.expm1(-2 * h * eta)) ** 0.5)
        past = [(denoised, h), *past[:1]]
        yield Step(index, following, x, denoised)


def _differences(denoised: Tensor, past: list[tuple[Tensor, float]], h: float) -> tuple[Tensor, Tensor]:
    """First and second differences of the clean picture, in units of the coming step h."""
    (one, h_one), *older = past
    slope = (denoised - one) * (h / h_one)
    if not older:
        return slope, torch.zeros_like(slope)
    two, h_two = older[0]
    r_one, r_two = h_one / h, h_two / h
    bend = (slope - (one - two) / r_two) / (r_one + r_two)
    return slope + bend * r_one, bend
