"""What the samplers share: the `Step` that they yield, calls at one noise level, and flow plus fresh noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import Model, predict


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step of a sampler.

    Attributes:
        index: counts the steps from 0.
        sigma: the noise level that `x` has now; of several, the highest.
        x: the state, (B, ...); the result, once sigma is 0.
        denoised: the clean picture that the model last saw in it, like x: a preview.
    """

    index: int
    sigma: float
    x: Tensor
    denoised: Tensor


def pairs(sigmas: Tensor) -> list[tuple[float, float]]:
    """(sigma, next sigma) of each step, as Python floats."""
    return list(pairwise(sigmas.double().tolist()))


def level(x: Tensor, sigma: float) -> Tensor:
    """One noise level for the whole batch, (B,), at least in float32."""
    return torch.full((len(x),), sigma, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)


def denoise(model: Model, x: Tensor, sigma: float) -> Tensor:
    """The model's clean picture at one noise level for the whole batch."""
    return model(x, level(x, sigma))


def ancestral(sigma: float, following: float, eta: float) -> tuple[float, float]:
    """Split a step: flow down to `down`, then add noise of `up`, with down^2 + up^2 = following^2.

    With eta = 1, `up` is the deviation of q(x_following | x_sigma, x0), as in DDPM; 0 adds none, as in DDIM.
    """
    up = min(following, eta * following * max(1 - (following / sigma) ** 2, 0.0) ** 0.5)
    return max(following**2 - up**2, 0.0) ** 0.5, up


def noise_in(model: Model, x: Tensor, sigma: float, fallback: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The clean picture and the noise that the model sees in x.

    At sigma = 0 only some models tell the noise; for others it is `fallback`.

    Raises:
        BadInput: the noise cannot be told and there is no fallback.
    """
    told = predict(model, x, level(x, sigma))
    if told.eps is not None:
        return told.denoised, told.eps
    if sigma > 0:
        return told.denoised, (x - told.denoised) / sigma
    if fallback is None:
        raise BadInput("This model cannot tell the noise of a clean picture; begin above noise level 0.")
    return told.denoised, fallback
