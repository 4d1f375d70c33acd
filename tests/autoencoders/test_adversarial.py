"""Adversarial losses by their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lienzo.autoencoders.adversarial import adaptive_weight, delayed, generator_loss, hinge_loss, vanilla_loss


def test_losses() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert hinge_loss(real, fake).item() == pytest.approx(0.5 * (0.5 + 1.0))
    both = torch.cat([-real, fake]).exp().log1p()
    assert vanilla_loss(real, fake).item() == pytest.approx(both.mean().item())
    assert generator_loss(fake).item() == 0.5


def test_the_weight_balances_the_pull_on_the_last_layer() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    out = layer(torch.randn(4, 3))
    reconstruction, adversarial = 10 * out.square().mean(), 0.1 * out.mean()
    weight = adaptive_weight(reconstruction, adversarial, layer.weight, 0.5)
    assert not weight.requires_grad
    pull = torch.autograd.grad(reconstruction, layer.weight, retain_graph=True)[0].norm()
    push = torch.autograd.grad(weight * adversarial, layer.weight)[0].norm()
    torch.testing.assert_close(push, 0.5 * pull, rtol=1e-2, atol=0)
    nothing = (layer.weight * 0).sum()
    assert adaptive_weight(1e9 * layer.weight.sum(), nothing, layer.weight).item() == pytest.approx(1e4)


def test_the_discriminator_joins_late() -> None:
    assert [delayed(0.8, step, 2) for step in range(4)] == [0, 0, 0.8, 0.8]
