"""Every kind: finite, with a gradient, on the scale it promises, and sentences for options it does not have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.autoencoders.vae import Coded, Vae
from lienzo.autoencoders.vae_objectives import KINDS, Moment, Objective, Reduction, objective
from lienzo.core.errors import BadInput

SMALL: dict[str, dict[str, Any]] = {"vq-vae": {"size": 4, "dim": 2}, "vamp": {"components": 5}}


def passed(kind: str, reduction: Reduction = "mean", **options: Any) -> tuple[Vae, Objective, Tensor, Coded, Moment]:
    torch.manual_seed(0)
    loss = objective(kind, reduction=reduction, **{**SMALL.get(kind, {}), **options})
    model = Vae(input_shape=(1, 6, 5), latent=4, hidden=(16,), **loss.network()).train()
    x = torch.rand(8, 1, 6, 5).requires_grad_()
    noise = torch.randn(8, *loss.axes, 4) if loss.variational else None
    return model, loss, x, model(x, noise), Moment(2.5, 100, torch.randn(8, 4))


@pytest.mark.parametrize("reduction", ["mean", "pythae"])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_finite_and_reach_every_weight(kind: str, reduction: Reduction) -> None:
    model, loss, x, out, moment = passed(kind, reduction)
    losses = loss.losses(x, out, moment)
    total = torch.stack(list(losses.values())).sum()
    assert total.shape == ()
    assert total.isfinite()
    total.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"vq-vae", "rae-gp", "miwae"}))
def test_the_mean_is_the_sum_by_the_number_of_pixel_values(kind: str) -> None:
    options = {"stratified": False} if kind == "beta-tc-vae" else {}
    totals = []
    for reduction in ("mean", "pythae"):
        _, loss, x, out, moment = passed(kind, reduction, **options)  # type: ignore[arg-type]
        totals.append(torch.stack(list(loss.losses(x, out, moment).values())).sum().item())
    assert totals[0] * 30 == pytest.approx(totals[1], rel=1e-5)


def test_the_capacity_grows_with_the_epochs() -> None:
    _, loss, x, out, _ = passed("disentangled-beta-vae", capacity=20.0, warmup=9)
    values = [loss.terms(x, out, Moment(epoch))["capacity"].value.item() for epoch in (0.0, 5.0, 10.0, 50.0)]
    divergence = loss.terms(x, out, Moment())["kl"].value.item()
    assert values == pytest.approx([divergence, 10 - divergence, 20 - divergence, 20 - divergence], rel=1e-4)


def test_a_smaller_sigma_weighs_the_squared_error_more() -> None:
    _, loss, x, out, moment = passed("vae", sigma=0.5)
    _, plain, *_ = passed("vae")
    ratio = loss.terms(x, out, moment)["reconstruction"].value / plain.terms(x, out, moment)["reconstruction"].value
    assert ratio.item() == pytest.approx(4)


def test_more_draws_tighten_the_bound() -> None:
    values = []
    for samples in (1, 50):
        _, loss, x, out, moment = passed("iwae", samples=samples)
        values.append(loss.terms(x, out, moment)["bound"].value.item())
    assert values[1] < values[0]


def test_names_and_options_that_there_are_not() -> None:
    with pytest.raises(BadInput, match="no autoencoder of kind 'vee'; there are ae, vae"):
        objective("vee")
    with pytest.raises(BadInput, match="kind 'ae' has no option 'beta'; it has loss, sigma, reduction"):
        objective("ae", beta=2.0)
    _, _, x, out, _ = passed("ae")
    for kind in ("vae", "vamp", "vq-vae", "wae-mmd"):
        with pytest.raises(BadInput, match="needs"):
            objective(kind).terms(x, out, Moment())
