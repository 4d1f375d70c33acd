from __future__ import annotations

import math

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.diffusion import schedules
from lienzo.diffusion.schedules import SCHEDULES, alphas_cumprod, make_betas


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("n", [50, 1000])
def test_every_schedule_gives_betas_that_destroy_the_picture_step_by_step(name: str, n: int) -> None:
    betas = make_betas(name, n)
    assert betas.shape == (n,)
    assert betas.dtype == torch.float64
    assert ((betas > 0) & (betas < 1)).all()
    assert (alphas_cumprod(betas).diff() < 0).all()
    assert (betas.diff() >= 0).all()


def test_constants_of_the_published_schedules() -> None:
    betas = make_betas("linear", 1000)
    assert (betas[0].item(), betas[-1].item()) == pytest.approx((1e-4, 0.02), rel=1e-12)
    betas = make_betas("linear", 4000)  # four times as many steps, each a quarter as strong
    assert (betas[0].item(), betas[-1].item()) == pytest.approx((2.5e-5, 0.005), rel=1e-12)
    betas = make_betas("stable_diffusion", 1000)
    assert (betas[0].item(), betas[-1].item()) == pytest.approx((0.00085, 0.012), rel=1e-12)
    assert alphas_cumprod(betas)[-1].item() == pytest.approx(0.0047, abs=5e-5)
    assert schedules.sigma_from_alpha_bar(alphas_cumprod(betas))[[0, -1]].tolist() == pytest.approx(
        [0.0292, 14.6146], abs=1e-4
    )


def test_cosine_follows_its_formula_up_to_the_cap() -> None:
    n, s = 200, 0.008
    betas = make_betas("cosine", n)
    assert betas[-1] == 0.999
    t = torch.arange(1, n, dtype=torch.float64)
    wanted = torch.cos((t / n + s) / (1 + s) * math.pi / 2) ** 2 / math.cos(s / (1 + s) * math.pi / 2) ** 2
    torch.testing.assert_close(alphas_cumprod(betas)[:-1], wanted, rtol=1e-10, atol=1e-15)


def test_linear_schedules_of_any_length_end_equally_noisy() -> None:
    few, many = (alphas_cumprod(make_betas("linear", n))[-1].log().item() for n in (250, 1000))
    assert few == pytest.approx(many, rel=0.03)


def test_betas_and_alphas_cumprod_are_inverse() -> None:
    betas = make_betas("cosine", 100)
    again = schedules.betas_from_alphas_cumprod(alphas_cumprod(betas))
    torch.testing.assert_close(again, betas, rtol=1e-10, atol=1e-14)


def test_sigma_and_alpha_bar_are_inverse_and_scale_to_variance_exploding() -> None:
    alpha_bar = alphas_cumprod(make_betas("linear", 100))
    sigma = schedules.sigma_from_alpha_bar(alpha_bar)
    torch.testing.assert_close(schedules.alpha_bar_from_sigma(sigma), alpha_bar, rtol=1e-12, atol=0)
    x0, noise = 0.3, -1.7
    x = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
    torch.testing.assert_close(x / alpha_bar.sqrt(), x0 + sigma * noise, rtol=1e-12, atol=1e-14)


def test_impossible_schedules_are_refused_in_a_sentence() -> None:
    with pytest.raises(BadInput, match="did you mean 'cosine'"):
        make_betas("cosin", 10)
    with pytest.raises(BadInput, match="0 steps"):
        make_betas("cosine", 0)
    with pytest.raises(BadInput, match="between 0 and 1"):
        make_betas("linear", 10)
