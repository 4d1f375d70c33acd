"""DDPM's ancestral sampling with its three variances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import Model, predict
from lienzo.diffusion.samplers.steps import Step, level, pairs
from lienzo.nn.noise import Noise


def sample_ddpm(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    variance: Literal["small", "large", "learned"] = "small",
    noise: Noise = torch.randn_like,
) -> Iterator[Step]:
    """Algorithm 2 of Ho et al. 2020, on any noise levels: a step of the respaced diffusion that visits only them.

    Order 1 (weak), one call a step. What the models were trained for: best with 100 steps or more.

    Guidance that moves the mean by the variance of the step (Dhariwal & Nichol 2021, algorithm 1) depends on both ends
    of it and so is no function from model to model: `gaussian.GaussianDiffusion.p_sample` has it, while
    `denoiser.with_score` serves every sampler.

    Args:
        variance: of the noise: ``small`` is that of q(x_following | x_sigma, x0), the same as `euler_ancestral`;
            ``large`` is beta; ``learned`` lies between them where the network says (Improved DDPM), for models with
            `denoiser.Prediction.variance_share`, e.g. a `DiscreteDenoiser` with `learned_range`.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        told = predict(model, x, level(x, sigma))
        if variance == "learned" and told.variance_share is None:
            raise BadInput("This model has not learned a variance; take variance 'small' or 'large'.")
        x = told.denoised + (x - told.denoised) * (following / sigma) ** 2
        if following > 0:
            removed = 1 - (following / sigma) ** 2
            small = following**2 * removed
            # beta of the variance-preserving x, brought to VE scaling
            large = removed * sigma**2 / (1 + sigma**2) * (1 + following**2)
            if variance == "learned" and told.variance_share is not None:
                deviation: Tensor | float = small**0.5 * (large / small) ** (told.variance_share / 2)
            else:
                deviation = (small if variance == "small" else large) ** 0.5
            x = x + noise(x) * deviation
        yield Step(index, following, x, told.denoised)
