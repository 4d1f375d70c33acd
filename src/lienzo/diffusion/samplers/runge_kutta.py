"""Pseudo Runge-Kutta samplers of PNDM and v-diffusion, and the single steps that `plms` starts with.

They average the predicted noise over a step and then move along it exactly: x + eps (following - sigma). Time is even
in atan(sigma), the t of v-diffusion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, noise_in, pairs


def sample_prk(model: Model, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    """Pseudo Runge-Kutta (Liu et al. 2022, PNDM, eq. 13), as in v-diffusion.

    Order 2 on general levels, four calls a step. Accurate but dear; `plms` gets near it with one call.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised, eps = noise_in(model, x, sigma)
        x = x + runge_kutta(model, x, eps, sigma, following) * (following - sigma)
        yield Step(index, following, x, denoised)


def sample_pie(model: Model, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    """Pseudo improved Euler, as in v-diffusion: `prk` with the two ends of the step only.

    Order 2, two calls a step. The same as `heun` save in the step to 0, where models that tell the noise of a clean
    picture (`denoiser.Prediction.eps`) are asked for it.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised, eps = noise_in(model, x, sigma)
        x = x + improved_euler(model, x, eps, sigma, following) * (following - sigma)
        yield Step(index, following, x, denoised)


def improved_euler(model: Model, x: Tensor, eps: Tensor, sigma: float, following: float) -> Tensor:
    """The mean of the noise at both ends of a step; `eps` is that at its begin."""
    return (eps + noise_in(model, x + eps * (following - sigma), following, eps)[1]) / 2


def runge_kutta(model: Model, x: Tensor, eps: Tensor, sigma: float, following: float) -> Tensor:
    """The mean of the noise over a step by Simpson's weights; `eps` is that at its begin."""
    middle = math.tan((math.atan(sigma) + math.atan(following)) / 2)
    second = noise_in(model, x + eps * (middle - sigma), middle)[1]
    third = noise_in(model, x + second * (middle - sigma), middle)[1]
    fourth = noise_in(model, x + third * (following - sigma), following, third)[1]
    return (eps + 2 * second + 2 * third + fourth) / 6
