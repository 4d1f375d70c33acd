"""DDIM: sampling, its inversion, and inpainting by replacement."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lienzo.diffusion.denoiser import Model
from lienzo.diffusion.samplers.steps import Step, ancestral, denoise, noise_in, pairs
from lienzo.nn.noise import Noise


def sample_ddim(
    model: Model, x: Tensor, sigmas: Tensor, *, eta: float = 0.0, clip: bool = False, noise: Noise = torch.randn_like
) -> Iterator[Step]:
    """DDIM (Song et al. 2020, eq. 12): towards the clean picture, along the predicted noise, plus fresh noise.

    Order 1, one call a step. What guided-diffusion, Stable Diffusion and disco-diffusion used; good from 25 steps.

    Args:
        eta: 0 is deterministic (`euler`), 1 has the noise of DDPM (`euler_ancestral`).
        clip: clamp the clean picture to [-1, 1] but keep the noise direction of the unclamped one, as `clip_sample`
            of diffusers' DDIMScheduler does. Wrap the model in `denoiser.clipped` for guided-diffusion's way.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        down, up = ancestral(sigma, following, eta)
        denoised = denoise(model, x, sigma)
        direction = (x - denoised) * (down / sigma)
        denoised = denoised.clamp(-1, 1) if clip else denoised
        x = denoised + direction
        if up > 0:
            x = x + noise(x) * up
        yield Step(index, following, x, denoised)


def invert_ddim(model: Model, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    """DDIM run backwards, from a clean picture to the noise that `sample_ddim` would make it of; `sampling.invert`.

    Order 1, one call a step. Use 50 steps or more: what it loses shows when the noise is sampled again.

    Args:
        x: clean pictures, (B, ...).
        sigmas: strictly rising noise levels. They may begin with 0 only for models that tell the noise there, see
            `denoiser.Prediction.eps`; else begin with the smallest level that the model knows.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        denoised, eps = noise_in(model, x, sigma)
        x = x + eps * (following - sigma)
        yield Step(index, following, x, denoised)


def inpaint_ddim(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    *,
    known: Tensor,
    mask: Tensor,
    eta: float = 0.0,
    noise: Noise = torch.randn_like,
) -> Iterator[Step]:
    """Stable Diffusion's masked DDIM: before each step the known part is put back, noised to that level.

    It cannot be a function from model to model, because it changes the state x and not the prediction. The last step
    is the model's own everywhere; paste `known` over the result where the known part must stay exact.

    Args:
        known: the clean picture, like x.
        mask: 1 where `known` is kept, 0 where the model paints, (B, 1, ...) or like x; fractions blend.
        eta: as in `sample_ddim`.
    """
    for index, (sigma, following) in enumerate(pairs(sigmas)):
        x = mask * (known + sigma * noise(x)) + (1 - mask) * x
        for step in sample_ddim(model, x, sigmas[index : index + 2], eta=eta, noise=noise):
            x = step.x
            yield Step(index, following, x, step.denoised)
