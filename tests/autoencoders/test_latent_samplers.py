"""Distributions of codes: that they fit, repeat by seed, and say what is missing."""

from __future__ import annotations

import pytest
import torch

from lienzo.autoencoders import latent_samplers
from lienzo.autoencoders.latent_samplers import (
    draw_codes,
    fit_flow,
    fit_mixture,
    fit_normal,
    make_prior,
    mean_nll,
    require_sampler,
    vamp_prior,
)
from lienzo.core.errors import BadInput, BadWeights


def two_clusters(count: int = 1000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    z = 0.3 * torch.randn(count, 2, generator=generator)
    z[: count // 4] += 4  # a quarter of them
    return z


def test_one_gaussian_has_the_codes_mean_and_covariance() -> None:
    mix = torch.tensor([[2.0, 0.0], [1.5, 0.5]])
    z = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)) @ mix.T + torch.tensor([3.0, -1.0])
    drawn = draw_codes(fit_normal(z), 2, range(5000))
    assert torch.allclose(drawn.mean(0), z.mean(0), atol=0.15)
    assert torch.allclose(drawn.T.cov(), z.T.cov(), rtol=0.1, atol=0.1)


def test_codes_in_a_plane_are_no_trouble() -> None:
    z = torch.randn(50, 1).expand(50, 6).contiguous()
    assert draw_codes(fit_normal(z), 6, range(9)).isfinite().all()
    assert draw_codes(fit_normal(torch.zeros(5, 3)), 3, range(9)).abs().max() < 1e-3


def test_a_mixture_finds_clusters_and_their_shares_and_beats_one_gaussian() -> None:
    z = two_clusters()
    mixture = fit_mixture(z, 2)
    assert sorted(mixture.shares.tolist()) == pytest.approx([0.25, 0.75], abs=0.01)
    drawn = draw_codes(mixture, 2, range(2000))
    assert (drawn.mean(1) > 2).float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert mean_nll(mixture, z) < mean_nll(fit_normal(z), z) - 0.5


def test_the_density_of_one_gaussian_is_torchs() -> None:
    prior = fit_normal(two_clusters())
    whole = torch.distributions.MultivariateNormal(prior.means[0], scale_tril=prior.roots[0])
    z = two_clusters(100)
    assert mean_nll(prior, z) == pytest.approx(-whole.log_prob(z).mean().item(), rel=1e-4)


def test_the_vamp_prior_draws_around_each_pseudo_input() -> None:
    prior = vamp_prior(torch.tensor([[0.0, 0.0], [9.0, 9.0]]), torch.full((2, 2), -6.0))
    drawn = draw_codes(prior, 2, range(400))
    assert torch.minimum(drawn.abs().amax(1), (drawn - 9).abs().amax(1)).max() < 0.3
    assert 150 < (drawn[:, 0] > 4).sum() < 250


def test_a_code_is_the_same_alone_and_among_others() -> None:
    prior = fit_mixture(two_clusters(), 3)
    together = draw_codes(prior, 2, range(5, 9))
    assert torch.allclose(draw_codes(prior, 2, [7]), together[2:3])
    assert draw_codes(None, 4, [1, 2]).shape == (2, 4)


def test_a_flow_learns_what_one_gaussian_cannot_and_is_made_again_from_its_config() -> None:
    pytest.importorskip("zuko")
    z = two_clusters()
    flow = fit_flow(z, steps=150)
    one = fit_normal(z)
    scaled = mean_nll(one, z) - flow.scale.log().sum().item()
    assert flow.nll(z).mean().item() < scaled - 0.3
    assert torch.equal(fit_flow(z, steps=3)(torch.ones(1, 3)), fit_flow(z, steps=3)(torch.ones(1, 3)))
    again = make_prior(flow.config, 2)
    again.load_state_dict(flow.state_dict())
    noise = torch.randn(5, 3)
    assert torch.equal(again(noise), flow(noise))


def test_missing_libraries_and_unknown_kinds_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_samplers, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"zuko: pip install 'lienzo\[flow\]'"):
        make_prior({"kind": "flow"}, 2)
    with pytest.raises(BadInput, match=r"scikit-learn: pip install 'lienzo\[probe\]'"):
        fit_mixture(torch.randn(9, 2), 2)
    require_sampler("normal")
    with pytest.raises(BadWeights, match="unknown kind 'magic'"):
        make_prior({"kind": "magic"}, 2)


def test_too_few_codes_for_a_mixture() -> None:
    with pytest.raises(BadInput, match="10 Gaussians need at least 20 pictures"):
        fit_mixture(torch.randn(9, 2), 10)
