"""Linear multistep sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, denoise, pairs


def sample_lms(model: Model, x: Tensor, sigmas: Tensor, *, order: int = 4) -> Iterator[Step]:
    """Adams-Bashforth on uneven steps: it integrates the polynomial through the last slopes (k-diffusion, 2022).

    Order up to `order`, one call a step; it begins with order 1. Good where noise levels change evenly; can overshoot
    in few steps.

    Args:
        order: how many slopes are used, usually 1 to 4.
    """
    levels = sigmas.double().tolist()
    slopes: list[Tensor] = []  # latest first
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised = denoise(model, x, sigma)
        slopes = [(x - denoised) / sigma, *slopes[: order - 1]]
        known = [levels[index - back] for back in range(len(slopes))]
        for slope, weight in zip(slopes, adams_bashforth(known, following), strict=True):
            x = x + slope * weight
        yield Step(index, following, x, denoised)


def adams_bashforth(known: Sequence[float], following: float) -> list[float]:
    """Weights w with sum(w_k f(known_k)) = the integral of f from known[0] to following, f the polynomial through them.

    Exact, in float64: each Lagrange polynomial is expanded about known[0] and integrated.
    """
    offsets = [level - known[0] for level in known]
    weights = []
    for k, own in enumerate(offsets):
        others = [other for j, other in enumerate(offsets) if j != k]
        integral = np.polyint(np.atleast_1d(np.poly(others)))
        weights.append(float(np.polyval(integral, following - known[0]) / np.prod([own - other for other in others])))
    return weights
