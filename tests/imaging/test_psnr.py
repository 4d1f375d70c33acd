"""PSNR by cases that can be computed in the head."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.imaging.psnr import pooled_psnr, psnr


def test_an_error_of_a_tenth_is_20_db() -> None:
    x = torch.full((2, 3, 4, 5), 0.5)
    y = x + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    assert psnr(x, y).tolist() == pytest.approx([20, 40], abs=1e-4)
    assert pooled_psnr(x, y).item() == pytest.approx(22.967086, abs=1e-4)  # of the mse (0.01 + 0.0001) / 2


def test_the_range_of_8_bit_numbers() -> None:
    x = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    assert psnr(x, x + 255, data_range=255).item() == pytest.approx(0, abs=1e-6)
    assert psnr(x + 200, x + 100, data_range=255).item() == pytest.approx(8.13080, abs=1e-4)  # no wrap-around


def test_equal_pictures_have_infinity() -> None:
    x = torch.rand(2, 3, 4, 4)
    assert torch.isinf(psnr(x, x)).all()
    assert torch.isinf(pooled_psnr(x, x))


def test_gradient_pulls_together() -> None:
    x = torch.full((1, 3, 4, 4), 0.4, requires_grad=True)
    (gradient,) = torch.autograd.grad(psnr(x, torch.full((1, 3, 4, 4), 0.6)).sum(), x)
    assert (gradient > 0).all()
    assert gradient.isfinite().all()


def test_what_cannot_be_compared() -> None:
    x = torch.zeros(1, 3, 4, 4)
    with pytest.raises(BadInput, match=r"one shape.*\(1, 3, 4, 4\) and \(1, 3, 4, 5\)"):
        psnr(x, torch.zeros(1, 3, 4, 5))
    with pytest.raises(BadInput, match=r"\(B, C, H, W\)"):
        pooled_psnr(x[:0], x[:0])
    with pytest.raises(BadInput, match=r"range.*above 0"):
        psnr(x, x, data_range=0)
