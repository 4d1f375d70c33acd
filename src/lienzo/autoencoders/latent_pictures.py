"""What a latent space looks like: reconstructions, steps along one number, ways from one picture to another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lienzo.autoencoders.latent_samplers import draw_codes
from lienzo.autoencoders.vae import Vae

BATCH = 256


@torch.no_grad()
def encoded(model: Vae, pictures: Tensor) -> Tensor:
    """The means of pictures (N, C, H, W) in [0, 1]: (N, D) on the CPU."""
    device = next(model.parameters()).device
    return torch.cat([model.encode(part.to(device))[0].float().cpu() for part in pictures.split(BATCH)])


@torch.no_grad()
def decoded(model: Vae, codes: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] on the CPU of codes (N, D)."""
    device = next(model.parameters()).device
    return torch.cat([model.decode(part.to(device)).float().cpu() for part in codes.split(BATCH)]).clamp(0, 1)


def reconstructions(model: Vae, pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W) encoded and decoded."""
    return decoded(model, encoded(model, pictures))


def sampled(model: Vae, seeds: Sequence[int]) -> Tensor:
    """New pictures (N, C, H, W), one a seed, from the model's prior, or from N(0, I) where it has none."""
    device = next(model.parameters()).device
    with torch.no_grad():
        codes = draw_codes(model.prior, model.latent, seeds, device)
    return decoded(model, codes)


def traversal(model: Vae, code: Tensor, axes: Sequence[int], reach: float = 3.0, steps: int = 9) -> Tensor:
    """One row an axis: the number of that axis goes from -reach to reach, the others stay.

    Args:
        code: (D,) to start from.
        axes: numbers of the code, from 0.
        reach: the furthest value; the prior's standard deviation is 1.
        steps: pictures in a row.

    Returns:
        (len(axes) * steps, C, H, W) in [0, 1].
    """
    codes = code.repeat(len(axes), steps, 1)
    for row, axis in enumerate(axes):
        codes[row, :, axis] = torch.linspace(-reach, reach, steps)
    return decoded(model, codes.flatten(0, 1))


def interpolation(model: Vae, first: Tensor, last: Tensor, steps: int = 9) -> Tensor:
    """The straight way from one code (D,) to another: (steps, C, H, W) in [0, 1]."""
    shares = torch.linspace(0, 1, steps)[:, None]
    return decoded(model, first + shares * (last - first))


def liveliest_axes(model: Vae, code: Tensor, reach: float, count: int) -> list[int]:
    """The numbers of a code (D,) whose way from -reach to reach changes the picture most, in falling order: many
    of a variational model's numbers may do nothing."""
    axes = range(len(code))
    ends = traversal(model, code, axes, reach, steps=2).unflatten(0, (-1, 2))
    change = (ends[:, 1] - ends[:, 0]).flatten(1).square().sum(1)
    return change.argsort(descending=True)[:count].tolist()
