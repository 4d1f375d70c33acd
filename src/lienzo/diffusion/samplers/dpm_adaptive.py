"""DPM-Solver with adaptive steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import Model, spread
from lienzo.diffusion.samplers.dpm_solver import eps_at, first_order, second_order, third_order
from lienzo.diffusion.samplers.steps import Step, denoise, level
from lienzo.nn.noise import Noise

SMALLEST_STEP = 1e-3  # in log sigma; it is always kept, as rounding can hold the error up whatever the step
SAFETY = 0.81  # a try is kept if the next step need not be shorter than this share of it


def sample_dpm_adaptive(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    order: Literal[2, 3] = 3,
    rtol: float = 0.05,
    atol: float = 0.0078,
    h_init: float = 0.05,
    eta: float = 0.0,
    s_noise: float = 1.0,
    tries: int | None = None,
    control: Literal["picture", "batch"] = "picture",
    noise: Noise = torch.randn_like,
) -> Iterator[Step]:
    """DPM-Solver-12 and -23 (Lu et al. 2022a): steps as long as the tolerance allows, whatever their number.

    Of `sigmas` only the ends count. Where they end with 0, the smallest other one is the end of the solver and one
    call removes what is left. A try costs `order` calls; a step is yielded when any picture moves on.

    Guidance may pull another way at every call (cutouts are drawn anew, CLIP's gradient turns). Then no step is short
    enough for the tolerance, and a thousand or more follow, unless `tries` bounds them.

    Args:
        order: of the solver.
        rtol, atol: tolerated error, relative and absolute, of a pixel in one step.
        h_init: the first step, in log sigma.
        eta: share of the DDPM noise; 0 is deterministic.
        s_noise: deviation of the noise.
        tries: the most tries, None for no bound. In their second half no step is shorter than its even share of what
            is left.
        control: ``picture`` gives each picture its own steps, so that it is the same alone or in a batch; ``batch``
            shares one error among all of them, as k-diffusion does.
    """
    levels = [value for value in sigmas.double().tolist() if value > 0]
    last = -math.log(levels[-1])
    s = -level(x, levels[0]).log()  # the time of each picture, -log sigma, (B,)
    h = torch.full_like(s, h_init)
    previous, index, tried = x, 0, 0
    while bool((moving := s < last - 1e-5).any()):
        h = h.maximum(least := _least(last - s, tries, tried))
        t = (s + h).clamp(max=last)
        down, up = _split(s, t, last, eta)
        eps = eps_at(model, x, s)
        denoised = x - spread((-s).exp(), x) * eps
        low, high = _both(model, x, eps, s, down, order)
        factor = _error(low, high, previous, rtol, atol, control).reciprocal() ** (1 / (1.5 if eta else order))
        factor = 1 + (factor - 1).atan()
        kept = ((factor >= SAFETY) | (h <= least)) & moving
        h, tried = h * factor, tried + 1
        # Alone or in a batch a picture must draw once a try, so noise may not depend on who keeps the step.
        if eta and (control == "picture" or bool(kept.any())):
            high = high + noise(x) * spread(s_noise * up, x)
        moves = kept.view(-1, *[1] * (x.ndim - 1))
        x, previous, s = torch.where(moves, high, x), torch.where(moves, low, previous), torch.where(kept, t, s)
        if bool(kept.any()):
            yield Step(index, (-s).exp().max().item(), x, denoised)
            index += 1
    if len(levels) < len(sigmas):
        x = denoise(model, x, levels[-1])
        yield Step(index, 0.0, x, x)


def _least(way: Tensor, tries: int | None, tried: int) -> Tensor:
    """The shortest step (B,) from which the way that is left (B,) can be gone within the tries."""
    if tries is None or 2 * (tried + 1) <= tries:
        return torch.full_like(way, SMALLEST_STEP)
    return (way / (tries - tried)).clamp(min=SMALLEST_STEP)


def _both(model: Model, x: Tensor, eps: Tensor, s: Tensor, t: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """The step from time s to t by the order below and by `order`."""
    if order == 2:
        return first_order(x, eps, s, t), second_order(model, x, eps, s, t)[0]
    low, inner = second_order(model, x, eps, s, t, r=1 / 3)
    return low, third_order(model, x, eps, s, t, inner)


def _split(s: Tensor, t: Tensor, last: float, eta: float) -> tuple[Tensor, Tensor]:
    """The time to flow to and the noise to add, each (B,), so that both end at time t; see `steps.ancestral`."""
    if not eta:
        return t, torch.zeros_like(t)
    here, after = (-s).exp(), (-t).exp()
    up = torch.minimum(after, eta * after * (1 - (after / here) ** 2).clamp(min=0).sqrt())
    down = (-((after**2 - up**2).clamp(min=0).sqrt()).log()).clamp(max=last)
    return down, (after**2 - (-down).exp() ** 2).clamp(min=0).sqrt()


def _error(low: Tensor, high: Tensor, previous: Tensor, rtol: float, atol: float, control: str) -> Tensor:
    """The root mean square, (B,), of what two orders differ by, in units of the tolerance."""
    tolerance = (rtol * torch.maximum(low.abs(), previous.abs())).clamp(min=atol)
    squares = ((low - high) / tolerance).reshape(len(low), -1).pow(2)
    error = squares.mean(1).to(torch.promote_types(low.dtype, torch.float32))
    if not bool(error.isfinite().all()):
        raise BadInput(
            "The sampler 'dpm_adaptive' met numbers that are not finite; the model or its guidance diverges."
        )
    return (error.mean().expand_as(error) if control == "batch" else error).sqrt() + 1e-8
