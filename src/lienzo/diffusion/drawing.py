"""Drawing with a code painter: from sentence vectors and styles to codes, without prompts, guides or upscalers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lienzo.diffusion.denoiser import FlowDenoiser
from lienzo.diffusion.sampling import sample
from lienzo.diffusion.sigmas import flow
from lienzo.nn.noise import PictureNoise

FIRST_TIME = 0.985  # flow time of the first step; at 1 the noise level would be infinite
STEPS = 6


@torch.no_grad()
def draw_codes(
    model: nn.Module,
    text: Tensor,
    style: Tensor,
    seeds: Sequence[int],
    *,
    length: int,
    guidance: float = 1.0,
    steps: int = STEPS,
) -> Tensor:
    """Codes (B, length), each from its own seed, on the model's device.

    Args:
        model: a `CodePainter`, or what is called like one.
        text: sentence vectors (B, D).
        style: style indices (B,).
        seeds: one a picture.
        length: numbers in a code.
        guidance: classifier-free guidance towards the sentence; 1 is none, and half the work.
        steps: of Euler's method.
    """
    device = next(model.parameters()).device
    text, style = text.to(device).float(), style.to(device)
    keep = torch.ones(len(text), dtype=torch.bool, device=device)
    flowing = FlowDenoiser(model, prediction="x0")

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        wanted = flowing(x, sigma, text=text, style=style, keep=keep)
        if guidance == 1:
            return wanted
        free = flowing(x, sigma, text=text, style=style, keep=~keep)
        return free + guidance * (wanted - free)

    noise = PictureNoise(seeds, device)
    sigmas = flow(steps, t_max=FIRST_TIME).float().to(device)
    x = sigmas[0] * noise(torch.zeros(len(text), length))
    for step in sample("euler", denoiser, x, sigmas, noise=noise):
        x = step.x
    return x
