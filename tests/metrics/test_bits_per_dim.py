"""Bits per dimension of distributions whose code length is known, and of a diffusion model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.metrics.bits_per_dim import bits_from_nats, diffusion_bits_per_dim

DIFFUSION = GaussianDiffusion(torch.linspace(1e-3, 0.3, 12).double())


def network(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x + 0.01 * t.view(-1, 1, 1, 1)


def test_the_uniform_distribution_needs_8_bits() -> None:
    pixels = torch.full((2,), 48 * math.log(256))  # -ln of (1/256)^48
    assert bits_from_nats(pixels, 48).tolist() == pytest.approx([8, 8])
    density = torch.zeros(2)  # -ln of the density 1 over the unit cube
    assert bits_from_nats(density, 48, levels=256).tolist() == [8, 8]
    with pytest.raises(BadInput, match="at least 1"):
        bits_from_nats(pixels, 0)


def test_a_picture_has_its_figure_alone_and_in_a_batch() -> None:
    pictures = torch.randint(0, 256, (3, 3, 4, 4), generator=torch.Generator().manual_seed(0)) / 255
    whole = diffusion_bits_per_dim(DIFFUSION, network, pictures, seeds=[5, 6, 7])
    alone = diffusion_bits_per_dim(DIFFUSION, network, pictures[1:2], seeds=[6])
    assert whole.total[1].item() == pytest.approx(alone.total.item(), rel=1e-5)
    other = diffusion_bits_per_dim(DIFFUSION, network, pictures[1:2], seeds=[7])
    assert other.total.item() != pytest.approx(alone.total.item(), rel=1e-5)


def test_it_is_the_bound_of_the_pictures_between_minus_one_and_one() -> None:
    pictures = torch.full((2, 3, 4, 4), 1.0)

    def sees(x: Tensor, t: Tensor) -> Tensor:  # the exact noise, were x0 all ones
        mean = DIFFUSION.sqrt_alphas_cumprod[t].float().view(-1, 1, 1, 1)
        return (x - mean) / DIFFUSION.sqrt_one_minus_alphas_cumprod[t].float().view(-1, 1, 1, 1)

    found = diffusion_bits_per_dim(DIFFUSION, sees, pictures)
    assert found.x0_mse.max() < 1e-6
    assert found.vb[:, 1:].abs().max() < 1e-4  # a perfect network loses nothing before the last step


def test_wrong_input() -> None:
    with pytest.raises(BadInput, match=r"pictures in \[0, 1\]; these run from -1 to 1"):
        diffusion_bits_per_dim(DIFFUSION, network, torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2))
    with pytest.raises(BadInput, match="these are"):
        diffusion_bits_per_dim(DIFFUSION, network, torch.zeros(0, 3, 4, 4))
    with pytest.raises(BadInput, match="one seed"):
        diffusion_bits_per_dim(DIFFUSION, network, torch.zeros(2, 3, 4, 4), seeds=[1])
