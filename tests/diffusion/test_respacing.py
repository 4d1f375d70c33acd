from __future__ import annotations

import itertools

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.diffusion.respacing import any_timesteps, respace, space_timesteps
from lienzo.diffusion.schedules import make_betas


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_any_count_works(n: int) -> None:
    for count in range(1, n + 1):
        kept = any_timesteps(n, count)
        assert len(kept) == count
        assert all(a < b for a, b in itertools.pairwise(kept))
        assert kept[-1] == n - 1
        assert count == 1 or kept[0] == 0
        gaps = {b - a for a, b in itertools.pairwise(kept)}
        assert not gaps or max(gaps) - min(gaps) <= 1, "as even as integers allow"


@pytest.mark.parametrize("count", [0, -1, 11])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(BadInput, match="choose 1 to 10"):
        any_timesteps(10, count)


def test_one_respacing_in_its_three_spellings() -> None:
    assert space_timesteps(100, "7") == space_timesteps(100, 7) == space_timesteps(100, [7])
    assert space_timesteps(100, " 3, 4 ") == space_timesteps(100, (3, 4))
    assert space_timesteps(5, "") == space_timesteps(5, "5") == [0, 1, 2, 3, 4]
    assert space_timesteps(10, [2, 0]) == [0, 4]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("ddim150", r"exactly 150 of 1000 timesteps; possible near it: 143, 167"),
        ("ddim", "'ddim25'"),
        ("ddimx", "'ddim25'"),
        ("ten", "cannot be read"),
        ("10,,20", "cannot be read"),
        ("-5", "cannot be read"),
        ([-5, 10], "keeps no timestep"),
        ([], "keeps no timestep"),
        ("0", "keeps no timestep"),
        ("600,1", "A section of 500 timesteps cannot give 600"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(spec: str | list[int], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        space_timesteps(1000, spec)


def trained(rescale: bool = False, n: int = 200) -> GaussianDiffusion:
    return GaussianDiffusion(
        make_betas("linear", n),
        mean_type="v",
        variance_type="learned_range",
        loss_type="rescaled_kl",
        rescale_timesteps=rescale,
    )


def test_respacing_keeps_the_marginals_and_the_choices() -> None:
    whole, kept = trained(), [0, 3, 50, 198]
    thin = respace(whole, kept)
    torch.testing.assert_close(thin.alphas_cumprod, whole.alphas_cumprod[kept], rtol=1e-12, atol=0)
    assert thin.num_timesteps == 4
    assert thin.trained_timesteps == 200
    assert (thin.mean_type, thin.variance_type, thin.loss_type) == ("v", "learned_range", "rescaled_kl")


@pytest.mark.parametrize("rescale", [False, True])
def test_the_network_sees_the_trained_timesteps(rescale: bool) -> None:
    thin = respace(trained(rescale), [0, 3, 50, 198])
    seen: list[torch.Tensor] = []

    def model_fn(x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        seen.append(timesteps)
        return torch.cat([x, x], dim=1)

    thin.p_mean_variance(model_fn, torch.zeros(3, 1, 2, 2), torch.tensor([3, 1, 0]))
    assert seen[0].tolist() == ([990.0, 15.0, 0.0] if rescale else [198, 3, 0])
    assert seen[0].is_floating_point() == rescale


def test_respacing_twice_is_respacing_once() -> None:
    twice = respace(respace(trained(True), [0, 10, 20, 100, 199]), [1, 3, 4])
    once = respace(trained(True), [10, 100, 199])
    assert twice.timestep_map.tolist() == once.timestep_map.tolist() == [10, 100, 199]
    torch.testing.assert_close(twice.betas, once.betas, rtol=1e-12, atol=0)
    t = torch.arange(3)
    assert torch.equal(twice.model_timesteps(t), once.model_timesteps(t))


@pytest.mark.parametrize("count", [1, 2, 199, 200])
def test_every_count_gives_finite_tables(count: int) -> None:
    thin = respace(trained(), any_timesteps(200, count))
    for name, table in vars(thin).items():
        if isinstance(table, torch.Tensor):
            assert table.shape == (count,), name
            assert table.isfinite().all(), name


@pytest.mark.parametrize("kept", [[], [3, 3], [5, 4], [-1, 2], [0, 200]])
def test_indices_that_do_not_fit_are_refused(kept: list[int]) -> None:
    with pytest.raises(BadInput, match="increase strictly within 0 to 199"):
        respace(trained(), kept)
