"""Pseudo linear multistep samplers of PNDM: they extrapolate the predicted noise from the last steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.runge_kutta import improved_euler, runge_kutta
from lienzo.diffusion.samplers.steps import Step, noise_in, pairs

# Adams-Bashforth for even steps, latest noise first.
ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def sample_plms(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    order: Literal[1, 2, 3, 4] = 4,
    begin: Literal["improved_euler", "runge_kutta", "euler"] = "improved_euler",
    finish: Literal["euler", "multistep"] = "euler",
) -> Iterator[Step]:
    """PLMS of Liu et al. 2022 (PNDM): the noise averaged by Adams-Bashforth weights for even steps.

    Order 2 on general levels, up to `order` on even ones; one call a step after the start. What Stable Diffusion 1
    and disco-diffusion offered beside DDIM; needs 20 steps or more.

    Args:
        order: how many predictions are used. 1 is `ddim`.
        begin: the first steps, while there are too few predictions: ``improved_euler`` makes the first step so and then
            raises the order (guided-diffusion of Katherine Crowson, Stable Diffusion, diffusers); ``runge_kutta`` makes
            `order` - 1 steps of `prk` (PNDM, v-diffusion); ``euler`` raises the order from 1.
        finish: the step to 0: ``euler`` ends on the clean picture; ``multistep`` extrapolates as v-diffusion does.
    """
    past: list[Tensor] = []  # latest first
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised, eps = noise_in(model, x, sigma)
        kept = eps
        if following == 0 and finish == "euler":
            mean = eps
        elif begin == "runge_kutta" and index < order - 1:
            mean = kept = runge_kutta(model, x, eps, sigma, following)
        elif begin == "improved_euler" and index == 0 and order > 1:
            mean = improved_euler(model, x, eps, sigma, following)
        else:
            mean = _extrapolated([eps, *past])
        past = [kept, *past][: order - 1]
        x = x + mean * (following - sigma)
        yield Step(index, following, x, denoised)


def sample_iplms(model: Model, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    """ "Improved" PLMS (Zhang & Chen 2022, as in v-diffusion): `plms` that begins with Euler and ends by extrapolating.

    Order 2 on general levels, one call a step from the first on. For few steps on `v_spliced` levels.
    """
    return sample_plms(model, x, sigmas, begin="euler", finish="multistep")


def sample_plms2(model: Model, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    """The second-order PLMS of v-diffusion; it remembers the averaged noise of its improved-Euler start.

    Order 2, one call a step after the first. Steadier than `plms` in few steps.
    """
    past: list[Tensor] = []
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised, eps = noise_in(model, x, sigma)
        if past:
            mean, past = _extrapolated([eps, *past]), [eps]
        else:
            mean = improved_euler(model, x, eps, sigma, following)
            past = [mean]
        x = x + mean * (following - sigma)
        yield Step(index, following, x, denoised)


def _extrapolated(latest_first: list[Tensor]) -> Tensor:
    weights = ADAMS_BASHFORTH[len(latest_first) - 1]
    return sum(
        (eps * weight for eps, weight in zip(latest_first[1:], weights[1:], strict=True)), latest_first[0] * weights[0]
    )
