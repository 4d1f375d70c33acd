from __future__ import annotations

import math

import pytest
import torch

from lienzo.guidance.canvas_wavelet import WaveletCanvas, daubechies, high_pass, merge, split


def test_haar_and_the_second_filter_are_the_known_ones() -> None:
    torch.testing.assert_close(daubechies(1), torch.full((2,), math.sqrt(0.5)))
    three = math.sqrt(3)
    known = torch.tensor([1 + three, 3 + three, 3 - three, 1 - three]) / (4 * math.sqrt(2))
    torch.testing.assert_close(daubechies(2), known)


@pytest.mark.parametrize("moments", range(1, 9))
def test_filters_are_orthonormal_and_do_not_see_polynomials(moments: int) -> None:
    low, high = daubechies(moments).double(), high_pass(daubechies(moments)).double()
    for shift in range(0, 2 * moments, 2):
        expected = 1.0 if shift == 0 else 0.0
        assert float(low[shift:] @ low[: len(low) - shift]) == pytest.approx(expected, abs=1e-5)
        assert float(high[shift:] @ low[: len(low) - shift]) == pytest.approx(0, abs=1e-5)
    at = torch.arange(2 * moments).double() / (2 * moments)
    for power in range(moments):
        assert float(high @ at**power) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("size", [2, 4, 6, 32])
@pytest.mark.parametrize("moments", [1, 2, 5])
def test_merge_inverts_split(size: int, moments: int) -> None:
    x, low = torch.randn(2, 3, size), daubechies(moments)
    parts = split(x, low)
    torch.testing.assert_close(merge(parts, low), x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.norm(), x.norm())


def test_one_coefficient_paints_one_place() -> None:
    canvas = WaveletCanvas(1, 32, 32, moments=1, start=torch.full((1, 3, 32, 32), 0.5))
    with torch.no_grad():
        canvas.coefficients[0, 0, 16, 3] += 5  # finest level, of differences down
    changed = ((canvas.render() - 0.5).abs().amax(1)[0] > 1e-4).nonzero()
    assert changed.amax(0).tolist() == [1, 7]
    assert changed.amin(0).tolist() == [0, 6]


def test_levels_are_bounded_by_the_picture() -> None:
    assert WaveletCanvas(1, 32, 40, levels=9).levels == 3
    assert WaveletCanvas(1, 32, 40, levels=1).levels == 1
    assert WaveletCanvas(1, 2, 3).levels == 1
