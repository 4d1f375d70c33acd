"""Shrinking and damage do what their names say, and only by the given generator."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lienzo.upscaling.degradations import blur, damage, jpeg, shrink, to_8_bits


def drawing(size: int = 64) -> Tensor:
    """Flat shapes with smooth shading, (1, 3, size, size)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    disc = (x**2 + y**2 < 0.5).float()
    return torch.stack([disc * 0.8, 0.5 + 0.4 * x, 1 - disc * 0.5 * (y + 1) / 2])[None]


def as_bytes(x: Tensor) -> np.ndarray:
    return (x[0].permute(1, 2, 0) * 255).round().byte().numpy()


def test_bicubic_is_the_one_of_pillow() -> None:
    """Pillow rounds and clamps between its two passes, which moves a few pixels at hard edges."""
    small = Image.fromarray(as_bytes(drawing())).resize((16, 16), Image.Resampling.BICUBIC)
    difference = as_bytes(shrink(to_8_bits(drawing()), 4)).astype(int) - np.asarray(small).astype(int)
    assert np.abs(difference).max() <= 3
    assert (np.abs(difference) > 1).mean() < 0.02


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "area"])
def test_shrinking_keeps_the_place(kernel: str) -> None:
    ramp = torch.linspace(0.1, 0.9, 64).expand(1, 3, 64, 64)
    small = shrink(ramp, 4, kernel)
    torch.testing.assert_close(small[..., 2:-2], ramp.unflatten(3, (16, 4)).mean(4)[:, :, ::4, 2:-2], atol=1e-4, rtol=0)


def test_blur_widens_a_point_by_its_sigmas() -> None:
    point = torch.zeros(1, 3, 41, 41)
    point[:, :, 20, 20] = 1
    spread = blur(point, (3.0, 1.0), angle=0.0)[0, 0].double()
    steps = torch.arange(41.0, dtype=torch.float64) - 20
    assert spread.sum().item() == pytest.approx(1, abs=1e-5)
    assert (spread.sum(0) * steps**2).sum().item() ** 0.5 == pytest.approx(3, rel=0.05)
    assert (spread.sum(1) * steps**2).sum().item() ** 0.5 == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_jpeg_loses_what_a_real_jpeg_loses(quality: int) -> None:
    """Far nearer to what Pillow's encoder leaves than that is to the picture itself."""
    buffer = io.BytesIO()
    Image.fromarray(as_bytes(drawing())).save(buffer, "JPEG", quality=quality)
    real = torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1)[None] / 255
    ours = jpeg(to_8_bits(drawing()), torch.tensor([quality]))
    lost = (real - drawing()).square().mean().sqrt() * 255
    assert (real - ours).square().mean().sqrt() * 255 < 0.4 * lost + 0.5


def test_jpeg_takes_a_quality_for_each_picture_and_any_size() -> None:
    x = drawing(45).repeat(2, 1, 1, 1)
    y = jpeg(x, torch.tensor([95.0, 5.0]))
    assert y.shape == x.shape
    torch.testing.assert_close(y[:1], jpeg(x[:1], torch.tensor([95.0])))
    errors = (y - x).square().mean((1, 2, 3))
    assert errors[1] > 4 * errors[0]


def test_damage_repeats_and_varies() -> None:
    x = drawing(48).repeat(12, 1, 1, 1)
    first = damage(x, 4, torch.Generator().manual_seed(1))
    assert first.shape == (12, 3, 12, 12)
    assert torch.equal(first, damage(x, 4, torch.Generator().manual_seed(1)))
    assert len({row.sum().item() for row in first}) > 6
    assert any(torch.equal(row, shrink(x[:1], 4)[0]) for row in first)  # some stay clean
