"""The terms of the VAE family, against distributions whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from lienzo.autoencoders.mmd import kernel, mmd
from lienzo.autoencoders.vae_losses import (
    gaussian_log,
    importance_bound,
    importance_nll,
    kl,
    log_weights,
    mixture_log,
    reconstruction,
    stratified_log_weights,
    total_correlation_terms,
    vamp_kl,
)

LOG_2PI = math.log(2 * math.pi)


def posterior(count: int = 6, latent: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, latent, generator=generator), torch.randn(count, latent, generator=generator) * 0.5


def test_reconstruction_is_summed_over_pixels_and_kept_for_each_draw() -> None:
    x = torch.rand(2, 3, 4, 5)
    again = torch.rand(2, 7, 3, 4, 5)
    error = reconstruction(x, again, "mse", 2.0)
    assert error.shape == (2, 7)
    assert error[1, 4].item() == pytest.approx(2 * (x[1] - again[1, 4]).square().sum().item(), rel=1e-5)
    entropy = reconstruction(x, again, "bce")
    wanted = -(x[0] * again[0, 2].log() + (1 - x[0]) * (1 - again[0, 2]).log()).sum()
    assert entropy[0, 2].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_bce_works_under_autocast() -> None:
    x = torch.rand(2, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(reconstruction(x, torch.rand(2, 1, 4, 4).bfloat16(), "bce")).all()


def test_kl_and_densities_are_those_of_torch_distributions() -> None:
    mean, log_var = posterior()
    q = Normal(mean, (0.5 * log_var).exp())
    assert torch.allclose(kl(mean, log_var), kl_divergence(q, Normal(0.0, 1.0)).sum(-1), atol=1e-5)
    z = torch.randn(6, 3)
    assert torch.allclose(gaussian_log(z, mean, log_var) - 0.5 * LOG_2PI, q.log_prob(z), atol=1e-5)
    mixture = MixtureSameFamily(Categorical(torch.ones(6)), Independent(q, 1))
    assert torch.allclose(mixture_log(z, mean, log_var) - 1.5 * LOG_2PI, mixture.log_prob(z), atol=1e-5)


def test_vamp_kl_of_one_component_is_on_average_the_kl_between_gaussians() -> None:
    mean, log_var = posterior(1, 2)
    other, spread = posterior(1, 2, seed=5)
    z = mean + torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0)) * (0.5 * log_var).exp()
    wanted = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(other, (0.5 * spread).exp())).sum()
    assert vamp_kl(z, mean, log_var, other, spread).mean().item() == pytest.approx(wanted.item(), rel=0.02)


def test_importance_sampling_finds_the_likelihood_of_a_linear_gaussian() -> None:
    """z ~ N(0, 1), x = z + noise: x ~ N(0, 2), whatever posterior the draws are taken from."""
    x = torch.tensor([[0.7]])
    mean, log_var = torch.tensor([[0.2]]), torch.tensor([[-0.3]])
    z = mean[:, None] + torch.randn(1, 100_000, 1, generator=torch.Generator().manual_seed(0)) * (0.5 * log_var).exp()
    error = 0.5 * (x[:, None] - z).square().sum(-1)
    log_w = log_weights(z, mean, log_var, error)
    found = importance_nll(log_w) + 0.5 * LOG_2PI
    assert found.item() == pytest.approx(-Normal(0.0, math.sqrt(2)).log_prob(x).item(), abs=0.01)
    one_draw = -log_w.mean() + 0.5 * LOG_2PI
    assert one_draw.item() > found.item() + 0.01


def test_the_gradient_of_the_importance_bound_is_that_of_its_logarithm() -> None:
    log_w = torch.randn(4, 5, requires_grad=True)
    (found,) = torch.autograd.grad(importance_bound(log_w).sum(), log_w)
    (wanted,) = torch.autograd.grad(importance_nll(log_w).sum(), log_w)
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("stratified", [False, True])
def test_the_three_parts_of_the_divergence_add_up(stratified: bool) -> None:
    mean, log_var = posterior(16, 4)
    z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
    parts = total_correlation_terms(z, mean, log_var, 1000, stratified=stratified)
    whole = gaussian_log(z, mean, log_var).sum(-1) + 0.5 * z.square().sum(-1)
    assert torch.allclose(sum(parts), whole, atol=1e-4)


def test_stratified_weights_stand_for_the_own_picture_once() -> None:
    weights = stratified_log_weights(8, 100).exp()
    assert torch.allclose(weights.diagonal(), torch.full((8,), 0.01))
    expected = 0.01 + (100 - 7) / (100 * 7) + 6 / 7
    assert torch.allclose(weights.sum(1), torch.full((8,), expected))
    assert stratified_log_weights(1, 1).isfinite().all()


def test_total_correlation_sees_dependence() -> None:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(256, 1, generator=generator)
    free = torch.randn(256, 2, generator=generator)
    tight = torch.full((256, 2), -4.0)
    dependent, independent = (
        total_correlation_terms(each, each, tight, 256, stratified=False)[1].mean()
        for each in (shared.expand(-1, 2), free)
    )
    assert dependent > independent + 0.5


@pytest.mark.parametrize("kind", ["imq", "rbf"])
def test_mmd_tells_a_shifted_sample_from_one_of_the_prior(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 300, 4, generator=generator)
    assert abs(mmd(a, b, kind).item()) < 0.05  # type: ignore[arg-type]
    assert mmd(a + 1, b, kind).item() > 0.1  # type: ignore[arg-type]
    assert kernel(a, a, kind).diagonal().allclose(torch.tensor(1.0 if kind == "rbf" else 7.0))  # type: ignore[arg-type]
