from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.timestep_samplers import (
    TIMESTEP_SAMPLERS,
    LossSecondMomentSampler,
    TimestepSampler,
    UniformSampler,
    importance_weights,
    timesteps_at,
)


def warm(n: int = 4, *, history: int = 3, uniform_prob: float = 0.001) -> LossSecondMomentSampler:
    """A sampler whose remembered losses at t are all t + 1."""
    sampler = LossSecondMomentSampler(n, history_per_term=history, uniform_prob=uniform_prob)
    for _ in range(history):
        sampler.update(torch.arange(n), torch.arange(1.0, n + 1))
    return sampler


@pytest.mark.parametrize("name", TIMESTEP_SAMPLERS)
def test_every_sampler_draws_updates_and_resumes_alike(name: str) -> None:
    build = partial(TIMESTEP_SAMPLERS.load(name), 5)
    sampler: TimestepSampler = build()
    for _ in range(12):
        sampler.update(torch.arange(5), torch.rand(5))
    again: TimestepSampler = build()
    again.load_state_dict(sampler.state_dict())
    draws = [s.sample(64, torch.Generator().manual_seed(3)) for s in (sampler, again)]
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])
    timesteps, weights = draws[0]
    assert timesteps.dtype == torch.int64
    assert weights.dtype == torch.float32
    assert timesteps.shape == weights.shape == (64,)
    assert set(timesteps.tolist()) <= set(range(5))


def test_uniform_draws_all_timesteps_with_weight_one() -> None:
    timesteps, weights = UniformSampler(7).sample(20_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(timesteps, minlength=7).double() / 20_000
    assert (counts - 1 / 7).abs().max() < 0.01
    assert torch.equal(weights, torch.ones(20_000))


def test_second_moment_is_uniform_until_every_history_is_full() -> None:
    sampler = LossSecondMomentSampler(2, history_per_term=3)
    sampler.update(torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([1.0, 2.0, 3.0, 4.0, 1.0, 1.0]))
    assert torch.equal(sampler.weights(), torch.ones(2, dtype=torch.float64))
    sampler.update(torch.tensor([1]), torch.tensor([1.0]))
    assert sampler.warmed_up
    assert sampler.history[0].tolist() == [2.0, 3.0, 4.0]  # the oldest loss went first


def test_second_moment_draws_in_proportion_to_the_root_mean_square_loss() -> None:
    sampler = warm(uniform_prob=0.1)
    expected = 0.9 * torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64) + 0.1 / 4
    torch.testing.assert_close(sampler.weights(), expected)
    timesteps, _ = sampler.sample(40_000, torch.Generator().manual_seed(1))
    counts = torch.bincount(timesteps, minlength=4).double() / 40_000
    assert (counts - expected).abs().max() < 0.01


def test_importance_weights_leave_the_expected_loss_unchanged() -> None:
    sampler = warm()
    losses = torch.tensor([5.0, -1.0, 2.0, 10.0], dtype=torch.float64)
    p = sampler.weights() / sampler.weights().sum()
    assert (p * importance_weights(sampler.weights()) * losses).sum().item() == pytest.approx(4.0)


def test_a_loss_that_is_not_finite_is_forgotten() -> None:
    sampler = warm()
    before = sampler.weights()
    sampler.update(torch.tensor([0, 1]), torch.tensor([float("nan"), float("inf")]))
    assert torch.equal(sampler.weights(), before)


def test_losses_that_are_all_zero_still_give_probabilities() -> None:
    sampler = LossSecondMomentSampler(3, history_per_term=1)
    sampler.update(torch.arange(3), torch.zeros(3))
    torch.testing.assert_close(sampler.weights(), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_several_processes_end_with_the_same_history() -> None:
    """Two ranks, whose `gather` joins the tensors that both hand in."""
    given = [
        (torch.tensor([0, 1]), torch.tensor([1.0, 2.0])),
        (torch.tensor([1, 2]), torch.tensor([3.0, 4.0])),
    ]

    def gather(local: Tensor) -> Tensor:
        return torch.cat([pair[0 if local.dtype == torch.int64 else 1] for pair in given])

    ranks = [LossSecondMomentSampler(3, history_per_term=2, gather=gather) for _ in range(2)]
    for sampler, (timesteps, losses) in zip(ranks, given, strict=True):
        sampler.update(timesteps, losses.requires_grad_())
    assert torch.equal(ranks[0].history, ranks[1].history)
    assert ranks[0].history.tolist() == [[1.0, 0.0], [2.0, 3.0], [4.0, 0.0]]
    assert ranks[0].counts.tolist() == [1, 2, 1]


def test_a_history_of_another_shape_is_refused() -> None:
    with pytest.raises(BadInput, match=r"\(4, 3\).*\(5, 10\)"):
        LossSecondMomentSampler(5).load_state_dict(warm().state_dict())


def test_a_saved_state_does_not_change_with_the_sampler() -> None:
    sampler = warm()
    state = sampler.state_dict()
    sampler.update(torch.tensor([0]), torch.tensor([99.0]))
    assert 99.0 not in state["history"]


def test_numbers_drawn_elsewhere_become_timesteps() -> None:
    weights = torch.tensor([1.0, 3.0, 4.0], dtype=torch.float64)
    u = torch.tensor([0.0, 0.124, 0.125, 0.499, 0.5, 1 - 2**-24])
    t, importance = timesteps_at(weights, u)
    assert t.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(importance, importance_weights(weights).float()[t])
    many = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    drawn, _ = timesteps_at(warm().weights(), many)
    assert torch.bincount(drawn).div(20_000).tolist() == pytest.approx(warm().weights().tolist(), abs=0.01)
    assert torch.bincount(timesteps_at(torch.ones(1000).double(), torch.arange(1000) / 1000 + 5e-4)[0]).eq(1).all()
