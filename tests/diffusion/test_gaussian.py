from __future__ import annotations

import itertools
import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.gaussian import GaussianDiffusion, LossType, MeanType, VarianceType
from lienzo.diffusion.losses import discretized_gaussian_log_likelihood, normal_kl
from lienzo.diffusion.schedules import make_betas

MEANS, VARIANCES, LOSSES = (get_args(kind) for kind in (MeanType, VarianceType, LossType))
STEPS = 12
BETAS = torch.linspace(0.03, 0.6, STEPS, dtype=torch.float64)
EVERY_T = torch.arange(STEPS)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class GaussianData:
    """Data whose every pixel is N(0, spread^2): all that a network should learn about it is known exactly.

    `model` answers in any parameterisation, with the true reverse variance where it is learned.
    """

    def __init__(self, mean_type: MeanType, variance_type: VarianceType, spread: float = 0.25):
        self.spread = spread
        self.diffusion = GaussianDiffusion(BETAS, mean_type=mean_type, variance_type=variance_type)
        d = self.diffusion
        self.marginal = d.alphas_cumprod * spread**2 + 1 - d.alphas_cumprod  # variance of x_t
        before = torch.cat([torch.tensor([spread**2], dtype=torch.float64), self.marginal[:-1]])
        self.reverse_mean = (1 - d.betas).sqrt() * before / self.marginal  # of x_{t-1} given x_t, per x_t
        self.reverse_variance = d.betas * before / self.marginal

    def model(self, x: Tensor, t: Tensor) -> Tensor:
        def at(table: Tensor) -> Tensor:
            return table.to(x.dtype)[t].view(-1, *[1] * (x.ndim - 1))

        d = self.diffusion
        ab = d.alphas_cumprod
        x0 = at(ab.sqrt() * self.spread**2 / self.marginal) * x
        noise = at((1 - ab).sqrt() / self.marginal) * x
        answer = {
            "x0": x0,
            "eps": noise,
            "v": at(ab.sqrt()) * noise - at((1 - ab).sqrt()) * x0,
            "previous_x": at(self.reverse_mean) * x,
        }[d.mean_type]
        if not d.learns_variance:
            return answer
        log_variance = at(self.reverse_variance.log())
        if d.variance_type == "learned_range":
            low, high = at(d.posterior_log_variance_clipped), at(d.log_betas)
            log_variance = 2 * (log_variance - low) / (high - low) - 1
        return torch.cat([answer, log_variance.expand_as(x)], dim=1)


# All combinations


@pytest.mark.parametrize(("mean", "variance", "loss"), list(itertools.product(MEANS, VARIANCES, LOSSES)))
def test_every_loss_is_finite_for_each_item_and_has_a_gradient(mean: MeanType, variance, loss) -> None:
    diffusion = GaussianDiffusion(BETAS, mean_type=mean, variance_type=variance, loss_type=loss)
    x0 = randn(STEPS, 2, 3, 3, dtype=torch.float32).clamp(-1, 1)
    weight = (0.3 * randn(4 if diffusion.learns_variance else 2, 2, dtype=torch.float32)).requires_grad_()

    def model_fn(x: Tensor, timesteps: Tensor) -> Tensor:
        return torch.einsum("oc,bchw->bohw", weight, x)

    losses = diffusion.training_losses(model_fn, x0, EVERY_T, randn(*x0.shape, seed=1, dtype=torch.float32))
    for name, value in losses.items():
        assert value.shape == (STEPS,), name
        assert value.isfinite().all(), name
    assert set(losses) == (
        {"loss"} if "kl" in loss else {"loss", "mse", "vb"} if diffusion.learns_variance else {"loss", "mse"}
    )
    for value in losses["loss"]:
        (gradient,) = torch.autograd.grad(value, weight, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient[:2].abs().sum() > 0
        assert not diffusion.learns_variance or gradient[2:].abs().sum() > 0


@pytest.mark.parametrize(("mean", "variance"), list(itertools.product(MEANS, VARIANCES)))
def test_every_kind_samples_in_any_shape(mean: MeanType, variance: VarianceType) -> None:
    data = GaussianData(mean, variance)
    for shape in ((STEPS, 5), (STEPS, 2, 3), (STEPS, 1, 2, 3, 2)):
        x = randn(*shape, dtype=torch.float32)
        for step in (data.diffusion.p_sample, data.diffusion.ddim_sample, data.diffusion.ddim_reverse):
            moved = step(data.model, x, EVERY_T)
            assert moved.x.shape == moved.x0.shape == x.shape
            assert moved.x.dtype == torch.float32
            assert moved.x.isfinite().all()


# The forward process and its posterior


def test_the_marginal_is_the_composition_of_the_steps() -> None:
    diffusion = GaussianDiffusion(BETAS)
    mean, variance = 1.0, 0.0
    for beta in BETAS.tolist():
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
    one = torch.ones(1, 1, dtype=torch.float64)
    got = diffusion.q_mean_variance(one, torch.tensor([STEPS - 1]))
    assert [v.item() for v in got] == pytest.approx([mean, variance, math.log(variance)], rel=1e-12)


def test_posterior_obeys_bayes_rule() -> None:
    """q(x_{t-1} | x_t, x_0) q(x_t | x_0) = q(x_t | x_{t-1}) q(x_{t-1} | x_0) at any three points."""
    diffusion = GaussianDiffusion(BETAS)
    x0, x, before = randn(STEPS, 1, seed=1), randn(STEPS, 1, seed=2), randn(STEPS, 1, seed=3)

    def log_normal(value: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return -0.5 * ((value - mean) ** 2 / variance + variance.log() + math.log(2 * math.pi))

    t = EVERY_T[1:]
    x0, x, before, beta = x0[1:], x[1:], before[1:], BETAS[1:, None]
    posterior = diffusion.q_posterior(x0, x, t)
    left = log_normal(before, *posterior[:2]) + log_normal(x, *diffusion.q_mean_variance(x0, t)[:2])
    right = log_normal(x, (1 - beta).sqrt() * before, beta)
    right = right + log_normal(before, *diffusion.q_mean_variance(x0, t - 1)[:2])
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(posterior[1].log(), posterior[2], rtol=1e-12, atol=0)


def test_posterior_of_the_first_step_is_the_picture_itself() -> None:
    diffusion, x0, t = GaussianDiffusion(BETAS), randn(3, 4), torch.zeros(3, dtype=torch.int64)
    mean, variance, log_variance = diffusion.q_posterior(x0, randn(3, 4, seed=1), t)
    torch.testing.assert_close(mean, x0)
    assert (variance == 0).all()
    assert (log_variance == diffusion.posterior_variance[1].log()).all()


def test_conversions_undo_one_another() -> None:
    diffusion, x0, noise = GaussianDiffusion(BETAS), randn(STEPS, 4), randn(STEPS, 4, seed=1)
    x = diffusion.q_sample(x0, EVERY_T, noise)
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(diffusion.x0_from_eps(x, EVERY_T, noise), x0, **close)
    torch.testing.assert_close(diffusion.eps_from_x0(x, EVERY_T, x0), noise, **close)
    v = diffusion.v_from_x0(x0, EVERY_T, noise)
    torch.testing.assert_close(diffusion.x0_from_v(x, EVERY_T, v), x0, **close)
    previous = diffusion.q_posterior(x0, x, EVERY_T)[0]
    torch.testing.assert_close(diffusion.x0_from_previous(x, EVERY_T, previous), x0, **close)


# The reverse process


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("variance", ["learned", "learned_range"])
def test_parameterisations_of_the_same_belief_agree(mean: MeanType, variance: VarianceType) -> None:
    data, x = GaussianData(mean, variance), randn(STEPS, 2, 3)
    p = data.diffusion.p_mean_variance(data.model, x, EVERY_T, clip_denoised=False)
    torch.testing.assert_close(p.mean, data.reverse_mean.view(-1, 1, 1) * x, rtol=1e-8, atol=1e-10)
    exact = data.reverse_variance.view(-1, 1, 1).expand_as(x)
    torch.testing.assert_close(p.variance, exact, rtol=1e-8, atol=0)
    torch.testing.assert_close(p.log_variance.exp(), exact, rtol=1e-8, atol=0)
    x0 = (data.diffusion.alphas_cumprod.sqrt() * data.spread**2 / data.marginal).view(-1, 1, 1) * x
    torch.testing.assert_close(p.x0, x0, rtol=1e-8, atol=1e-10)


def test_learned_range_spans_the_two_fixed_variances() -> None:
    x = randn(STEPS, 1, 2)
    learned = GaussianDiffusion(BETAS, mean_type="x0", variance_type="learned_range")
    for end, kind in ((-1.0, "fixed_small"), (1.0, "fixed_large")):
        fixed = GaussianDiffusion(BETAS, mean_type="x0", variance_type=kind).interpret(x, x, EVERY_T)
        output = torch.cat([x, torch.full_like(x, end)], dim=1)
        got = learned.interpret(output, x, EVERY_T)
        first = 1 if end == 1.0 else 0  # fixed_large starts with the posterior's variance, not with beta
        torch.testing.assert_close(got.log_variance[first:], fixed.log_variance[first:])


def test_denoised_fn_runs_before_the_clamp() -> None:
    diffusion, x = GaussianDiffusion(BETAS, mean_type="x0"), torch.full((1, 1, 1), 0.6)
    t = torch.tensor([3])
    p = diffusion.p_mean_variance(lambda x, t: x, x, t, denoised_fn=lambda x0: 3 * x0)
    assert p.x0.item() == 1.0
    p = diffusion.p_mean_variance(lambda x, t: x, x, t, denoised_fn=lambda x0: 3 * x0, clip_denoised=False)
    assert p.x0.item() == pytest.approx(1.8)


def test_ancestral_sampling_draws_the_data() -> None:
    data = GaussianData("v", "learned")
    x = data.marginal[-1].sqrt() * randn(1, 1, 40_000)
    for step in reversed(range(STEPS)):
        t = torch.tensor([step])
        noise = randn(*x.shape, seed=step + 1)
        x = data.diffusion.p_sample(data.model, x, t, clip_denoised=False, noise=noise).x
    # The last step returns its mean without noise, so its own variance is missing.
    missing = data.reverse_variance[0].item()
    assert x.var().item() == pytest.approx(data.spread**2 - missing, rel=0.03)
    assert x.mean().item() == pytest.approx(0, abs=0.005)


def test_ddim_with_eta_one_is_ddpm_with_the_small_variance() -> None:
    data, x, noise = GaussianData("eps", "fixed_small"), randn(STEPS, 2, 3), randn(STEPS, 2, 3, seed=1)
    given = {"clip_denoised": False, "noise": noise}
    ddim = data.diffusion.ddim_sample(data.model, x, EVERY_T, eta=1.0, **given)
    ddpm = data.diffusion.p_sample(data.model, x, EVERY_T, **given)
    torch.testing.assert_close(ddim.x, ddpm.x, rtol=1e-7, atol=1e-9)


def test_ddim_reverse_and_ddim_undo_one_another_at_equal_noise_predictions() -> None:
    """With the noise known exactly, DDIM moves along x_t = sqrt(ab) x0 + sqrt(1-ab) noise both ways."""
    diffusion, x0, noise = GaussianDiffusion(BETAS), randn(1, 3), randn(1, 3, seed=1)
    x = diffusion.q_sample(x0, torch.tensor([0]), noise)
    for step in range(STEPS - 1):
        x = diffusion.ddim_reverse(lambda x, t: noise, x, torch.tensor([step]), clip_denoised=False).x
    torch.testing.assert_close(x, diffusion.q_sample(x0, torch.tensor([STEPS - 1]), noise))
    for step in reversed(range(STEPS)):
        x = diffusion.ddim_sample(lambda x, t: noise, x, torch.tensor([step]), clip_denoised=False).x
    torch.testing.assert_close(x, x0)


def test_guidance_shifts_mean_and_noise_by_their_formulas() -> None:
    data, x, gradient = GaussianData("eps", "fixed_large"), randn(STEPS, 2, 3), randn(STEPS, 2, 3, seed=1)
    d = data.diffusion
    p = d.p_mean_variance(data.model, x, EVERY_T, clip_denoised=False)
    shifted = d.condition_mean(lambda x, t: gradient, p, x, EVERY_T)
    torch.testing.assert_close(shifted - p.mean, p.variance * gradient)
    guided = d.condition_score(lambda x, t: gradient, p, x, EVERY_T)
    before, after = (d.eps_from_x0(x, EVERY_T, q.x0) for q in (p, guided))
    root = (1 - d.alphas_cumprod).sqrt().view(-1, 1, 1)
    torch.testing.assert_close(after, before - root * gradient, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(guided.mean, d.q_posterior(guided.x0, x, EVERY_T)[0])


# Losses


def hybrid(loss_type: LossType) -> tuple[dict[str, Tensor], Tensor]:
    diffusion = GaussianDiffusion(BETAS, variance_type="learned_range", loss_type=loss_type)
    x0, noise = randn(STEPS, 1, 3), randn(STEPS, 1, 3, seed=1)
    output = randn(STEPS, 2, 3, seed=2).requires_grad_()
    return diffusion.training_losses(lambda x, t: output, x0, EVERY_T, noise), output


def test_the_bound_of_the_hybrid_loss_trains_the_variance_only() -> None:
    losses, output = hybrid("mse")
    torch.testing.assert_close(losses["loss"], losses["mse"] + losses["vb"])
    (gradient,) = torch.autograd.grad(losses["vb"].sum(), output, retain_graph=True)
    assert (gradient[:, 0] == 0).all()
    assert (gradient[:, 1] != 0).all()
    (gradient,) = torch.autograd.grad(losses["mse"].sum(), output)
    assert (gradient[:, 0] != 0).all()
    assert (gradient[:, 1] == 0).all()


def test_only_the_rescaled_kinds_rescale_the_bound() -> None:
    plain, rescaled = hybrid("mse")[0], hybrid("rescaled_mse")[0]
    torch.testing.assert_close(rescaled["mse"], plain["mse"])
    torch.testing.assert_close(rescaled["vb"], plain["vb"] * STEPS / 1000)
    torch.testing.assert_close(hybrid("rescaled_kl")[0]["loss"], hybrid("kl")[0]["loss"] * STEPS)
    torch.testing.assert_close(hybrid("kl")[0]["loss"], plain["vb"])


@pytest.mark.parametrize("mean", MEANS)
def test_the_right_answer_has_no_error(mean: MeanType) -> None:
    diffusion = GaussianDiffusion(BETAS, mean_type=mean)
    x0, noise = randn(STEPS, 1, 3), randn(STEPS, 1, 3, seed=1)

    def oracle(x: Tensor, t: Tensor) -> Tensor:
        if mean == "previous_x":
            return diffusion.q_posterior(x0, x, t)[0]
        return {"eps": noise, "x0": x0, "v": diffusion.v_from_x0(x0, t, noise)}[mean]

    assert diffusion.training_losses(oracle, x0, EVERY_T, noise)["loss"].abs().max() == 0


def test_normal_kl_against_torch() -> None:
    mean1, mean2, log1, log2 = (randn(5, seed=i) for i in range(4))
    first = torch.distributions.Normal(mean1, (0.5 * log1).exp())
    second = torch.distributions.Normal(mean2, (0.5 * log2).exp())
    expected = torch.distributions.kl_divergence(first, second)
    torch.testing.assert_close(normal_kl(mean1, log1, mean2, log2), expected)


@pytest.mark.parametrize("scale", [0.003, 0.1, 1.0])
def test_the_pixel_probabilities_sum_to_one(scale: float) -> None:
    pixels = torch.linspace(-1, 1, 256, dtype=torch.float64)
    mean, log_scale = torch.full_like(pixels, 0.3), torch.full_like(pixels, math.log(scale))
    total = discretized_gaussian_log_likelihood(pixels, mean, log_scale).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-6)


def test_pixel_likelihood_stays_finite_with_a_gradient_far_from_the_mean() -> None:
    x, mean = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([0.9, 0.9, -0.9], requires_grad=True)
    log_scale = torch.full((3,), -6.0, requires_grad=True)
    value = discretized_gaussian_log_likelihood(x, mean, log_scale)
    assert value.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value.sum(), [mean, log_scale]))


# Bits per dimension


@pytest.mark.parametrize(("mean", "variance"), [("eps", "learned"), ("v", "learned_range"), ("x0", "learned")])
def test_the_bound_is_tight_for_the_exact_network(mean: MeanType, variance: VarianceType) -> None:
    """For Gaussian data and the true reverse process the bound is -log2 of the closed-form pixel probability."""
    data = GaussianData(mean, variance)
    x0 = data.spread * randn(4, 1, 100, 100)
    draws = iter(range(1000))
    got = data.diffusion.bits_per_dim(
        data.model, x0, clip_denoised=False, noise=lambda x: randn(*x.shape, seed=next(draws) + 7)
    )
    density = -0.5 * (x0 / data.spread) ** 2 - math.log(data.spread * math.sqrt(2 * math.pi))
    exact = -(density.flatten(1).mean(dim=1) + math.log(2 / 255)) / math.log(2)
    torch.testing.assert_close(got.total, exact, rtol=0, atol=0.02)
    torch.testing.assert_close(got.total.mean(), exact.mean(), rtol=0, atol=0.01)
    torch.testing.assert_close(got.total, got.prior + got.vb.sum(dim=1))
    assert got.vb.shape == got.x0_mse.shape == got.eps_mse.shape == (4, STEPS)
    error = data.spread**2 * (1 - data.diffusion.alphas_cumprod) / data.marginal  # Var(x0 | x_t)
    torch.testing.assert_close(got.x0_mse.mean(dim=0), error, rtol=0.03, atol=0)


def test_a_wrong_variance_costs_bits() -> None:
    x0 = 0.25 * randn(4, 1, 50, 50)
    totals = {}
    for kind in ("learned", "fixed_small", "fixed_large"):
        data, draws = GaussianData("eps", kind), iter(range(1000))
        bits = data.diffusion.bits_per_dim(
            data.model, x0, clip_denoised=False, noise=lambda x, draws=draws: randn(*x.shape, seed=next(draws))
        )
        totals[kind] = bits.total.mean().item()
    assert totals["learned"] < totals["fixed_small"] - 0.05
    assert totals["learned"] < totals["fixed_large"] - 0.01


def test_prior_vanishes_as_the_chain_grows_noisier() -> None:
    x0 = randn(2, 3, 4, 4, dtype=torch.float32).clamp(-1, 1)
    noisy = GaussianDiffusion(make_betas("linear", 1000)).prior_bpd(x0)
    short = GaussianDiffusion(make_betas("linear", 1000)[:300]).prior_bpd(x0)
    assert noisy.shape == (2,)
    assert (noisy < 1e-4).all()
    assert (short > 0.02).all()


def test_the_bound_comes_term_by_term_without_gradients_and_can_be_cancelled() -> None:
    data = GaussianData("eps", "learned")
    steps = data.diffusion.calc_bpd_loop(data.model, randn(2, 1, 3).requires_grad_())
    first, second = next(steps), next(steps)
    assert (first.t, second.t) == (STEPS - 1, STEPS - 2)
    assert torch.is_grad_enabled()
    assert not first.vb.requires_grad
    steps.close()


# Edges


def test_one_step_is_a_diffusion_too() -> None:
    diffusion = GaussianDiffusion(torch.tensor([0.5]), variance_type="learned_range", loss_type="kl")
    x, t = randn(2, 1, 3), torch.zeros(2, dtype=torch.int64)
    loss = diffusion.training_losses(lambda x, t: torch.cat([x, x], 1), x, t)["loss"]
    assert loss.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_answer_is_raised_before_the_maths(dtype: torch.dtype) -> None:
    data, x = GaussianData("eps", "learned_range"), randn(STEPS, 2, 3, dtype=torch.float32)
    exact = data.diffusion.p_mean_variance(data.model, x, EVERY_T)
    got = data.diffusion.p_mean_variance(lambda x, t: data.model(x, t).to(dtype), x, EVERY_T)
    assert got.mean.dtype == got.log_variance.dtype == torch.float32
    torch.testing.assert_close(got.mean, exact.mean, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("betas", [[], [0.0, 0.1], [0.5, 1.0], [-0.1], [[0.1]], [float("nan")]])
def test_bad_betas_are_refused(betas: list[float]) -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        GaussianDiffusion(torch.tensor(betas))


def test_bad_names_and_outputs_are_refused_in_a_sentence() -> None:
    with pytest.raises(BadInput, match="no mean type 'epsilon'; choose one of eps, x0, v, previous_x"):
        GaussianDiffusion(BETAS, mean_type="epsilon")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="12 steps cannot use a timestep map of 2"):
        GaussianDiffusion(BETAS, timestep_map=[0, 1])
    diffusion, x = GaussianDiffusion(BETAS, variance_type="learned"), torch.zeros(2, 3, 4, 4)
    with pytest.raises(BadInput, match=r"'learned' the network must answer with 6 channels .* it gave \(2, 3"):
        diffusion.p_mean_variance(lambda x, t: x, x, torch.zeros(2, dtype=torch.int64))
