"""Calibration finds the temperature that made the answers, and its errors mean what they say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lienzo.clip.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    held_out_probabilities,
    log_loss,
)
from lienzo.core.errors import BadInput


def drawn(count: int, temperature: float, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cosines (1, N, 4), and classes drawn from their softmax at that temperature."""
    generator = torch.Generator().manual_seed(0)
    scores = 0.2 * torch.randn(1, count, 4, generator=generator)
    probabilities = Calibration(temperature, bias)(scores)
    return scores, torch.multinomial(probabilities, 1, generator=generator)[:, 0]


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_the_temperature_is_found(temperature: float) -> None:
    scores, target = drawn(20_000, temperature)
    fitted = fit_calibration(scores, target)
    assert fitted.temperature == pytest.approx(temperature, rel=0.1)
    assert fitted.bias is None
    near = [log_loss(Calibration(fitted.temperature * factor)(scores), target) for factor in (0.9, 1.0, 1.1)]
    assert near[1] == min(near)


def test_the_bias_is_found() -> None:
    bias = torch.tensor([1.0, -1.0, 0.5, -0.5])
    scores, target = drawn(20_000, 0.1, bias)
    fitted = fit_calibration(scores, target, with_bias=True)
    assert fitted.bias is not None
    assert torch.allclose(fitted.bias, bias, atol=0.1)
    assert fitted.temperature == pytest.approx(0.1, rel=0.1)
    assert log_loss(fitted(scores), target) < log_loss(fit_calibration(scores, target)(scores), target)


def test_an_ensemble_is_fitted_as_it_is_used() -> None:
    scores, target = drawn(5000, 0.1)
    twice = torch.cat([scores, scores])
    assert fit_calibration(twice, target).temperature == pytest.approx(fit_calibration(scores, target).temperature)


def test_held_out_error_falls_and_is_not_flattered() -> None:
    scores, target = drawn(2000, 0.3)
    before = Calibration(0.01)(scores)
    after = held_out_probabilities(scores, target)
    assert expected_calibration_error(before, target) > 0.4
    assert expected_calibration_error(after, target) < 0.06
    assert log_loss(after, target) > log_loss(fit_calibration(scores, target)(scores), target)
    few = held_out_probabilities(scores[:, :2], target[:2])
    assert few.shape == (2, 4)


def test_calibration_error_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    target = torch.tensor([0, 1, 1, 1])
    # Bins of a tenth: 0.9 twice, right once; 0.7 and 0.6 once each, both right.
    assert expected_calibration_error(probabilities, target, bins=10) == pytest.approx((0.8 + 0.3 + 0.4) / 4)
    assert log_loss(probabilities, target) == pytest.approx(-math.log(0.9 * 0.1 * 0.7 * 0.6) / 4)


def test_answers_that_are_all_right_or_all_wrong_end() -> None:
    scores = torch.eye(3)[None]
    right, wrong = fit_calibration(scores, torch.arange(3)), fit_calibration(scores, torch.tensor([1, 2, 0]))
    assert 1e-5 <= right.temperature < 0.2
    assert 0.2 < wrong.temperature <= 10


@pytest.mark.parametrize("target", [torch.tensor([0, 3]), torch.tensor([0]), torch.tensor([], dtype=torch.long)])
def test_what_does_not_fit(target: Tensor) -> None:
    with pytest.raises(BadInput):
        fit_calibration(torch.zeros(1, 2, 3), target)
