"""The bootstrap repeats, is as wide as theory says, and stays around the figure."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.bootstrap import counts, interval, mean_interval, redrawn


def test_draws_repeat_and_sets_are_independent() -> None:
    assert torch.equal(redrawn(50, 3, 0), redrawn(50, 3, 0))
    assert not torch.equal(redrawn(50, 3, 0), redrawn(50, 3, 1))
    assert not torch.equal(redrawn(50, 3, 0), redrawn(50, 4, 0))
    columns = counts(50, 4, 0)
    assert columns.shape == (50, 4)
    assert torch.equal(columns[:, 3], torch.bincount(redrawn(50, 3, 0), minlength=50).double())
    assert counts(50, 0, 0).shape == (50, 0)


def test_the_interval_of_a_mean_is_two_standard_errors_wide() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    low, high = mean_interval(values, 1000, 0) or (0.0, 0.0)
    expected = 1.96 * float(values.std()) / 20
    assert high - float(values.mean()) == pytest.approx(expected, rel=0.15)
    assert float(values.mean()) - low == pytest.approx(expected, rel=0.15)
    half = mean_interval(values, 1000, 0, percent=50) or (0.0, 0.0)
    assert half[1] - half[0] == pytest.approx(2 * 0.674 / 1.96 * expected, rel=0.15)


def test_a_common_shift_of_the_draws_is_taken_off() -> None:
    draws = torch.linspace(9, 11, 101)
    assert interval(5.0, draws, 100 * 0.98) == pytest.approx((4.02, 5.98))


@pytest.mark.parametrize("percent", [0, 100, -5, float("nan")])
def test_wrong_percent(percent: float) -> None:
    with pytest.raises(BadInput, match="between 0 and 100 percent"):
        interval(0.0, torch.zeros(3), percent)


def test_no_draws_no_interval() -> None:
    assert interval(1.0, torch.zeros(0)) is None
    with pytest.raises(BadInput, match="at least 2 draws"):
        interval(1.0, torch.zeros(1))
