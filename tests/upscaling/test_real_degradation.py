"""The second-order damage: repeatable, in range, of the promised kernels, and stronger than the light one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lienzo.upscaling import real_degradation
from lienzo.upscaling.degradations import convolve, shrink
from lienzo.upscaling.real_degradation import (
    FIRST,
    SECOND,
    Dice,
    noisy,
    random_kernel,
    real_world,
    resized,
    sinc_kernel,
)


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def drawing(size: int = 64) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    disc = (x**2 + y**2 < 0.5).float()
    return torch.stack([disc * 0.8, 0.5 + 0.4 * x, 1 - disc * 0.5 * (y + 1) / 2])[None]


@pytest.mark.parametrize(("size", "scale"), [(48, 4), (96, 2), (8, 4), (30, 3)])
def test_it_repeats_varies_and_keeps_to_the_range(size: int, scale: int) -> None:
    x = drawing(size).repeat(6, 1, 1, 1)
    first = real_world(x, scale, torch.Generator().manual_seed(1))
    torch.manual_seed(9)
    assert torch.equal(first, real_world(x, scale, torch.Generator().manual_seed(1)))
    assert first.shape == (6, 3, size // scale, size // scale)
    assert first.min() >= 0
    assert first.max() <= 1
    assert len({row.sum().item() for row in first}) == 6
    assert not torch.equal(first, real_world(x, scale, torch.Generator().manual_seed(2)))


def test_the_picture_is_still_there() -> None:
    x = drawing(96).repeat(40, 1, 1, 1)
    low = real_world(x, 4, torch.Generator().manual_seed(0))
    clean = shrink(x, 4)
    error = (low - clean).square().mean((1, 2, 3)).sqrt()
    assert 0.03 < error.median() < 0.2, "far from clean, yet no mere noise"
    assert (low.mean((0, 2, 3)) - clean.mean((0, 2, 3))).abs().max() < 0.04, "no shift of colour"
    assert error.max() > 1.5 * error.min()


def test_a_sinc_is_the_ideal_low_pass() -> None:
    """Waves below its cutoff pass, waves above it do not."""
    kernel = sinc_kernel(41, math.pi / 2)
    kernel = kernel / kernel.sum()
    steps = torch.arange(200.0)
    for frequency, share in ((math.pi / 4, 1.0), (0.8 * math.pi, 0.0)):
        wave = torch.cos(frequency * steps).expand(1, 1, 200, 200)
        middle = convolve(wave, kernel)[0, 0, 100, 60:140]
        assert middle.abs().max().item() == pytest.approx(share, abs=0.12)
    assert kernel.min() < -0.001, "it rings"


def test_kernels_are_of_every_kind() -> None:
    kernels = [random_kernel(FIRST, dice(seed)) for seed in range(400)]
    sides = {len(kernel) for kernel in kernels}
    assert sides == {7, 9, 11, 13, 15, 17, 19, 21}
    ringing = sum(bool((kernel < 0).any()) for kernel in kernels) / len(kernels)
    assert ringing == pytest.approx(real_degradation.SINC, abs=0.05)
    bells = [kernel for kernel in kernels if not (kernel < 0).any()]
    assert all(kernel.argmax() == kernel.numel() // 2 for kernel in bells)
    long = sum(not torch.allclose(kernel, kernel.T, atol=1e-5) for kernel in bells) / len(bells)
    assert 0.2 < long < 0.45


def test_a_bell_is_as_wide_as_its_sigma() -> None:
    narrow, wide = (random_kernel(FIRST, dice(seed)) for seed in (0, 1))
    stage = real_degradation.Stage(1.0, (2.0, 2.0), (0, 0, 1), (1, 1), (1, 1), (1, 1))
    shapes = []
    for seed in range(60):
        kernel = random_kernel(stage, dice(seed))
        if (kernel >= 0).all() and len(kernel) == 21:
            steps = torch.arange(21.0) - 10
            kernel = kernel / kernel.sum()
            shapes.append((kernel.sum(0) * steps**2).sum().sqrt().item())
    assert len(shapes) > 3
    assert sorted(shapes)[0] > 1
    assert any(abs(sigma - 2) < 0.05 for sigma in shapes), "the plain bell"
    assert narrow.shape[0] % 2 == wide.shape[0] % 2 == 1


def test_resizing_has_the_promised_odds() -> None:
    sizes = [resized(torch.zeros(1, 3, 100, 100), FIRST, (100, 100), dice(seed)).shape[2] for seed in range(300)]
    shares = [sum(map(test, sizes)) / 300 for test in (lambda s: s > 100, lambda s: s < 100)]
    assert shares[0] == pytest.approx(0.2, abs=0.06)
    assert shares[1] == pytest.approx(0.7, abs=0.07)
    assert 15 <= min(sizes) < 25
    assert 140 < max(sizes) <= 150
    assert resized(torch.zeros(1, 3, 40, 40), SECOND, (10, 10), dice()).shape[2] <= 12


def test_noise_is_grey_or_coloured_and_grows_with_light_when_counted() -> None:
    ramp = torch.linspace(0.05, 0.7, 256).expand(1, 3, 256, 256)
    grey = grows = 0
    for seed in range(60):
        grain = noisy(ramp, FIRST, dice(seed)) - ramp
        grey += bool((grain[:, 0] - grain[:, 1]).abs().max() < 1e-6)
        dark, bright = grain[..., 20:40].std(), grain[..., 200:220].std()
        grows += bool(bright > 1.5 * dark)
    assert 0.2 < grey / 60 < 0.6
    assert 0.3 < grows / 60 < 0.7
