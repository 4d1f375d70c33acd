from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lienzo.guidance.losses import LOSSES, init_loss, symmetry_horizontal, symmetry_vertical

PICTURES = torch.randn(3, 3, 9, 12, generator=torch.Generator().manual_seed(0)) * 1.5


def conforms(loss: object) -> None:
    """Finite, one number a picture that does not depend on the others, with a gradient that lowers it."""
    assert callable(loss)
    x = PICTURES.clone().requires_grad_()
    values = loss(x)
    assert values.shape == (3,)
    assert values.isfinite().all()
    for i in range(3):
        torch.testing.assert_close(loss(PICTURES[i : i + 1])[0], values[i])
    (grad,) = torch.autograd.grad(values.sum(), x)
    assert grad.isfinite().all()
    assert (grad.flatten(1).norm(dim=1) > 0).all()
    assert (loss(PICTURES - 0.01 * grad / grad.norm()) < values).all()


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_loss_conforms(name: str) -> None:
    conforms(LOSSES.load(name))


def two_features(x: Tensor) -> list[Tensor]:
    return [x.tanh(), x.mean((2, 3))]


def lpips_like(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().mean((1, 2, 3), keepdim=True)


@pytest.mark.parametrize(
    "options", [{}, {"features": torch.tanh}, {"features": two_features}, {"distance": lpips_like}]
)
def test_init_loss_conforms_and_is_zero_at_the_init(options: dict) -> None:
    init = torch.zeros(1, 3, 9, 12)
    loss = init_loss(init, **options)
    conforms(loss)
    assert loss(init.expand(2, -1, -1, -1)).tolist() == [0, 0]


def test_init_loss_takes_one_comparison() -> None:
    with pytest.raises(ValueError, match="not both"):
        init_loss(PICTURES, features=torch.tanh, distance=lpips_like)


def test_symmetry_is_zero_for_symmetric_pictures() -> None:
    sides = torch.cat([PICTURES, PICTURES.flip(-1)], -1)
    assert symmetry_horizontal(sides).tolist() == [0, 0, 0]
    assert symmetry_vertical(sides).min() > 0
    assert symmetry_vertical(sides.transpose(2, 3)).tolist() == [0, 0, 0]
