"""Bits per dimension: how many bits a model needs for each number of a picture. Lower is better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.gaussian import BitsPerDim, GaussianDiffusion, ModelFn
from lienzo.nn.noise import PictureNoise


def diffusion_bits_per_dim(
    diffusion: GaussianDiffusion,
    model_fn: ModelFn,
    pictures: Tensor,
    *,
    seeds: Sequence[int] | None = None,
    clip_denoised: bool = True,
) -> BitsPerDim:
    """The variational bound of a diffusion model on 8-bit pictures; it calls the network T times, without gradients.

    Args:
        diffusion: the process that the network was trained for.
        model_fn: the network, as in `GaussianDiffusion.p_mean_variance`.
        pictures: (B, C, H, W) in [0, 1], multiples of 1/255.
        seeds: of each picture's noise, so that its figure is the same alone or in a batch; 0, 1, ... if not given.
        clip_denoised: clamp the predicted picture to its range.

    Raises:
        BadInput: the pictures are no batch in [0, 1].
    """
    if pictures.ndim < 2 or 0 in pictures.shape:
        raise BadInput(f"Bits per dimension are of pictures (B, C, H, W); these are {tuple(pictures.shape)}.")
    low, high = pictures.aminmax()
    if low < 0 or high > 1:
        raise BadInput(f"Bits per dimension are of pictures in [0, 1]; these run from {low:.3g} to {high:.3g}.")
    noise = PictureNoise(range(len(pictures)) if seeds is None else seeds)
    return diffusion.bits_per_dim(model_fn, pictures * 2 - 1, clip_denoised=clip_denoised, noise=noise)


def bits_from_nats(nats: Tensor, dimensions: int, *, levels: int = 1) -> Tensor:
    """Bits per dimension of negative log-likelihoods in nats, like `nats`.

    Args:
        nats: -ln p(x) of each picture.
        dimensions: numbers in a picture, C H W.
        levels: 1 for a probability of the pixels. For a density over pixels scaled to [0, 1], the number of their
            steps (256): each dimension then needs log2(levels) bits more.

    Raises:
        BadInput: a count below 1.
    """
    if dimensions < 1 or levels < 1:
        raise BadInput(f"Dimensions and levels are at least 1; they were {dimensions} and {levels}.")
    return nats / (dimensions * math.log(2)) + math.log2(levels)
