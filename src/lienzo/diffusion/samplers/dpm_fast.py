"""DPM-Solver-fast."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.dpm_solver import eps_at, first_order, second_order, third_order
from lienzo.diffusion.samplers.steps import Step, ancestral, denoise, level
from lienzo.nn.noise import Noise


def sample_dpm_fast(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    calls: int | None = None,
    eta: float = 0.0,
    s_noise: float = 1.0,
    noise: Noise = torch.randn_like,
) -> Iterator[Step]:
    """DPM-Solver-fast (Lu et al. 2022a): steps of order 3, and one or two lower ones, that use just so many calls.

    It makes its own levels, even in log sigma: of `sigmas` only the ends and the number count. Where they end with 0,
    the smallest other one is the end of the solver and one call removes what is left.

    Args:
        calls: calls of the model, all in all; len(sigmas) - 1 if not given.
        eta: share of the DDPM noise; 0 is deterministic.
        s_noise: deviation of the noise.
    """
    calls = len(sigmas) - 1 if calls is None else calls
    levels = [value for value in sigmas.double().tolist() if value > 0]
    ends_at_zero = len(levels) < len(sigmas)
    orders = _orders(calls - ends_at_zero) if len(levels) > 1 else []
    if len(levels) > 1 and not orders:
        raise BadInput("The sampler 'dpm_fast' needs two calls or more to come from noise to a picture.")
    times = torch.linspace(-math.log(levels[0]), -math.log(levels[-1]), len(orders) + 1, dtype=torch.float64).tolist()
    for index, order in enumerate(orders):
        sigma, following = math.exp(-times[index]), math.exp(-times[index + 1])
        down, up = ancestral(sigma, following, eta)
        down = max(down, levels[-1])
        up = (following**2 - down**2) ** 0.5 if up > 0 and down < following else 0.0
        t, t_next = -level(x, sigma).log(), -level(x, down).log()
        eps = eps_at(model, x, t)
        denoised = x - sigma * eps
        if order == 1:
            x = first_order(x, eps, t, t_next)
        else:
            x = second_order(model, x, eps, t, t_next)[0] if order == 2 else third_order(model, x, eps, t, t_next)
        if up > 0:
            x = x + noise(x) * (s_noise * up)
        yield Step(index, following, x, denoised)
    if ends_at_zero:
        x = denoise(model, x, levels[-1])
        yield Step(len(orders), 0.0, x, x)


def _orders(calls: int) -> list[int]:
    if calls < 1:
        return []
    thirds, left = divmod(calls, 3)
    return [3] * thirds + [left] if left else [3] * (thirds - 1) + [2, 1]
