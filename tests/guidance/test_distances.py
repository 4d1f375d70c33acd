from __future__ import annotations

import math

import pytest
import torch

from lienzo.guidance.distances import DISTANCES, prompt_distance, spherical


@pytest.mark.parametrize("name", list(DISTANCES))
def test_every_distance_is_smallest_at_the_target_and_has_a_finite_gradient(name: str) -> None:
    distance = DISTANCES.load(name)
    target = torch.tensor([1.0, 0.0, 0.0])
    at = torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 1, 0], [-3, 0, 0]], requires_grad=True)
    values = distance(at, target)
    assert values.shape == (4,)
    assert (values.diff() > 0).all()
    (grad,) = torch.autograd.grad(values.sum(), at)
    assert grad.isfinite().all(), "also where the two are equal or opposite"
    assert grad[1:3].norm(dim=-1).min() > 0


def test_spherical_is_half_the_squared_angle() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([math.cos(0.7), math.sin(0.7)])
    assert spherical(a, b).item() == pytest.approx(0.7**2 / 2, rel=1e-5)
    assert spherical(a, -a).item() == pytest.approx(math.pi**2 / 2, rel=1e-5)


def test_stop_keeps_the_value_and_drops_the_gradient() -> None:
    distance = torch.tensor([0.5, 1.0, 0.5, 1.0], requires_grad=True)
    weight = torch.tensor([2.0, 2.0, -2.0, -2.0])
    stop = torch.tensor([0.8, 0.8, -0.8, -0.8])
    value = prompt_distance(distance, weight, stop)
    assert value.tolist() == [1, 2, -1, -2]
    value.sum().backward()
    assert distance.grad is not None
    assert distance.grad.tolist() == [0, 2, -2, 0]
