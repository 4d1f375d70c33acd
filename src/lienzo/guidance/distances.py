"""Distances between embeddings, of which guidance follows the gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.tables import Names
from lienzo.guidance.ops import replace_grad

DISTANCES = Names(
    "guidance distance",
    {
        "spherical": "lienzo.guidance.distances:spherical",
        "cos_spherical": "lienzo.guidance.distances:cos_spherical",
        "cosine": "lienzo.guidance.distances:cosine",
    },
)


def spherical(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared angle between `a` and `b` over the last axis, in [0, pi²/2].

    The angle is 2·atan2(|a-b|, |a+b|) of the normalised vectors: equal to the usual 2·arcsin(|a-b|/2), whose
    gradient is infinite where the two are opposite.
    """
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)).square()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine of the angle between `a` and `b` over the last axis, in [0, 2]."""
    return 1 - (F.normalize(a, dim=-1) * F.normalize(b, dim=-1)).sum(-1)


def cos_spherical(a: Tensor, b: Tensor) -> Tensor:
    """`spherical` + exp(2·cosine distance)/2: clip-diffusion-art's steeper choice, in [0.5, 32.3]."""
    return spherical(a, b) + 0.5 * torch.exp(2 * cosine(a, b))


def prompt_distance(distance: Tensor, weight: Tensor, stop: Tensor) -> Tensor:
    """Weighted distances that stop pulling below their stop (VQGAN-CLIP's prompt loss, before the mean).

    Args:
        distance: (..., N), one for each of N prompts.
        weight: broadcasts to it; a negative weight pushes away.
        stop: broadcasts to it. Compared with the distance times the sign of the weight, so 0.9 stops a positive
            prompt at distance 0.9, and -0.8 a negative one at distance 0.8.
    """
    signed = distance * weight.sign()
    return weight.abs() * replace_grad(signed, torch.maximum(signed, stop))
