from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lienzo.guidance.draws import picture_generators
from lienzo.guidance.guide import Guide, make_guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.prompts import Prompt
from lienzo.guidance.steer import (
    Model,
    clamp_rms,
    classifier_free,
    classifier_guided,
    guided_gradient,
    label_log_prob,
    masked,
    progress,
    rms,
    steer,
    thresholded,
)

SIGMAS = torch.tensor([10.0, 4.0, 1.5, 0.6, 0.2, 0.05, 0.0])
NOISE = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
MODES = ["estimate", "through", "secondary"]


def gaussian(mean: float | Tensor = 0.0, std: float = 0.5) -> Model:
    """The exact denoiser of pictures whose pixels are N(mean, std²)."""

    def model(x: Tensor, sigma: Tensor, shift: Tensor | None = None) -> Tensor:
        variance = sigma.view(-1, 1, 1, 1).square()
        centre = mean if shift is None else mean + shift.view(-1, 1, 1, 1)
        return (x * std**2 + variance * centre) / (std**2 + variance)

    return model


def euler(model: Model, noise: Tensor = NOISE, sigmas: Tensor = SIGMAS) -> Tensor:
    x = noise * sigmas[0]
    with torch.no_grad():
        for now, then in pairwise(sigmas):
            denoised = model(x, now.expand(len(x)))
            x = denoised + (x - denoised) * (then / now)
    assert not x.requires_grad
    return x


def a_guide(perceptor: object, seeds: list[int] = [1, 2, 3], **given: object) -> Guide:  # noqa: B006
    options = GuidanceOptions.make(**{"cutn": 4, "cutn_batches": 1, "clamp_max": 0.5} | given)
    return make_guide(options, [[Prompt("red")]], [(perceptor, 1.0)], generators=picture_generators(seeds))


@pytest.mark.parametrize("mode", MODES)
def test_guided_sampling_moves_the_mean_towards_the_prompt(perceptor, mode: str) -> None:
    plain = euler(gaussian()).mean((2, 3))
    model = steer(gaussian(), a_guide(perceptor, mode=mode), secondary=gaussian(std=0.4))
    moved = euler(model).mean((2, 3)) - plain
    assert (moved[:, 0] > 0.05).all()
    assert (moved[:, 1:] < -0.05).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("look_at", ["blend", "denoised", "noisy"])
def test_a_picture_is_steered_the_same_alone_and_in_a_batch(perceptor, mode: str, look_at: str) -> None:
    def sampled(noise: Tensor, seeds: list[int]) -> Tensor:
        guide = a_guide(perceptor, seeds, mode=mode, look_at=look_at)
        return euler(steer(gaussian(), guide, secondary=gaussian(std=0.4)), noise)

    together = sampled(NOISE, [1, 2, 3])
    alone = torch.cat([sampled(NOISE[i : i + 1], [i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_through_differentiates_the_network_and_estimate_takes_it_as_the_identity(perceptor) -> None:
    """For a linear network of slope s, `through` is s times what `estimate` gives at the same estimate."""

    def gradient(mode: str) -> Tensor:
        guide = a_guide(perceptor, mode=mode, look_at="denoised", range_scale=0)
        sigma = torch.full((3,), 2.0)
        return guided_gradient(gaussian(std=1.0), guide, NOISE, sigma, {})[1]

    alpha = 5**-0.5
    torch.testing.assert_close(gradient("through"), gradient("estimate") * 0.2 / alpha, rtol=1e-4, atol=1e-5)


def test_estimate_runs_the_network_once_without_a_graph(perceptor) -> None:
    grads: list[bool] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        grads.append(torch.is_grad_enabled() or x.requires_grad)
        return gaussian()(x, sigma)

    with torch.no_grad():
        steer(model, a_guide(perceptor))(NOISE, torch.full((3,), 1.0))
    assert grads == [False]


@pytest.mark.parametrize("where", ["denoised", "x_in"])
@pytest.mark.parametrize("mode", MODES)
def test_the_range_loss_pulls_back_into_range(mode: str, where: str) -> None:
    options = GuidanceOptions.make(mode=mode, tv_scale=0, range_on=where, clamp_grad=False)
    model = gaussian(mean=3.0, std=0.1)
    out = steer(model, Guide(options), secondary=model)(NOISE + 3, torch.full((3,), 1.0))
    assert (out < model(NOISE + 3, torch.full((3,), 1.0)) - 1e-4).all()


def test_step_sizes(perceptor) -> None:
    x, sigma = NOISE * 2, torch.full((3,), 2.0)
    plain = gaussian()(x, sigma)

    def step(scale: float | Tensor = 1.0, **given: object) -> Tensor:
        return steer(gaussian(), a_guide(perceptor, **given), scale=scale)(x, sigma) - plain

    clamped = step(clamp_max=0.01)
    torch.testing.assert_close(rms(clamped).flatten(), torch.full((3,), 0.01 * 4 / 5**0.5))
    scaled = step(torch.tensor([0.0, 1.0, 3.0]), clamp_max=0.01)
    torch.testing.assert_close(scaled, clamped * torch.tensor([0.0, 1.0, 3.0]).view(3, 1, 1, 1))
    torch.testing.assert_close(rms(step(relative_step=0.3)), 0.3 * rms(plain))


def test_clamp_shrinks_but_never_grows() -> None:
    grad = torch.stack([torch.full((3, 4, 4), 2.0), torch.full((3, 4, 4), 0.01), torch.zeros(3, 4, 4)])
    assert rms(clamp_rms(grad, 0.05)).flatten().tolist() == pytest.approx([0.05, 0.01, 0.0])
    assert clamp_rms(grad, 0.05, per_picture=False).square().mean().sqrt().item() == pytest.approx(0.05)


def test_the_last_steps_can_be_unguided(perceptor) -> None:
    sigmas = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.0])
    guide = a_guide(perceptor, off_share=0.3)
    euler(steer(gaussian(), guide, sigmas=sigmas), sigmas=sigmas)
    assert len(perceptor.calls) == 7
    assert a_guide(perceptor, off_share=1.0).options.off_share == 1
    steered = steer(gaussian(), a_guide(perceptor, off_share=1.0))
    assert torch.equal(steered(NOISE, torch.ones(3)), gaussian()(NOISE, torch.ones(3)))


def test_progress() -> None:
    sigmas = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.0])
    found = [progress(torch.tensor([level]), sigmas) for level in (20.0, 8.0, 4.0, 8**0.5, 2.0, 1.0, 0.5, 0.0)]
    assert found == pytest.approx([0, 0, 0.25, 0.375, 0.5, 0.75, 0.75, 1])
    assert progress(torch.tensor([1.0])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="one noise level"):
        progress(torch.tensor([1.0, 2.0]))


# Blend at sigma 2: f = 2/√5 of the estimate and (1 - f)/√5 of x, so (1 - f) * 2 of noise on √5 f + (1 - f) of signal.
@pytest.mark.parametrize(("look_at", "expected"), [("noisy", 2.0), ("denoised", 0.0), ("blend", 0.100279)])
def test_perceptors_are_told_the_noise_of_what_they_see(perceptor, look_at: str, expected: float) -> None:
    steer(gaussian(), a_guide(perceptor, look_at=look_at))(NOISE, torch.full((3,), 2.0))
    assert perceptor.sigmas[0].tolist() == pytest.approx([expected] * 12, rel=1e-4)


def test_latents_are_judged_through_their_decoder(perceptor) -> None:
    turn = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])

    def decode(z: Tensor) -> Tensor:
        return torch.einsum("ca,bahw->bchw", turn, z)

    plain = euler(gaussian()).mean((2, 3))
    moved = euler(steer(gaussian(), a_guide(perceptor), decode=decode)).mean((2, 3)) - plain
    assert (moved.argmax(1) == 1).all(), "the second latent channel is the red of the picture"


def test_bad_gradients_are_skipped_and_counted(perceptor) -> None:
    guide = a_guide(perceptor, mode="through")

    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        denoised = gaussian()(x, sigma)
        return torch.cat([denoised[:1] + (x[:1] * 0).sqrt(), denoised[1:]])  # a slope of infinity times 0

    out = steer(broken, guide)(NOISE, torch.ones(3))
    assert guide.nonfinite == 1
    plain = gaussian()(NOISE, torch.ones(3))
    assert torch.equal(out[0], plain[0])
    assert (out[1:] - plain[1:]).flatten(1).abs().amax(1).min() > 0


def test_classifier_free() -> None:
    sigma, shift = torch.ones(3), torch.tensor([1.0, 2.0, 3.0])
    calls: list[int] = []

    def model(x: Tensor, sigma: Tensor, shift: Tensor | None = None) -> Tensor:
        calls.append(len(x))
        return gaussian()(x, sigma, shift)

    with_cond, without = gaussian()(NOISE, sigma, shift), gaussian()(NOISE, sigma, torch.zeros(3))
    cond, uncond = {"shift": shift}, {"shift": torch.zeros(3)}
    for joined, expected in ((True, [6]), (False, [3, 3])):
        calls.clear()
        out = classifier_free(model, cond, uncond, 3.0, joined=joined)(NOISE, sigma)
        torch.testing.assert_close(out, without + 3 * (with_cond - without))
        assert calls == expected
    scale = torch.tensor([1.0, 0.0, 2.0])
    out = classifier_free(model, cond, uncond, scale)(NOISE, sigma)
    torch.testing.assert_close(out, without + scale.view(3, 1, 1, 1) * (with_cond - without))
    calls.clear()
    torch.testing.assert_close(classifier_free(model, cond, {}, 3.0)(NOISE, sigma), without + 3 * (with_cond - without))
    torch.testing.assert_close(classifier_free(model, cond, uncond, 1.0)(NOISE, sigma), with_cond)
    limited = classifier_free(model, cond, uncond, 3.0, interval=(2.0, 5.0))
    torch.testing.assert_close(limited(NOISE, sigma), with_cond)
    assert calls == [3, 3, 3, 3]


def test_classifier_guidance_is_the_posterior_mean() -> None:
    """With prior N(0, s²) and a measurement y of x0 with noise r, guidance by log p(y | x) gives E[x0 | x, y]."""
    s, r, y, level = 0.7, 0.4, 1.3, 0.9
    shrink, left = s**2 / (s**2 + level**2), s**2 * level**2 / (s**2 + level**2)

    def log_prob(x: Tensor, sigma: Tensor) -> Tensor:
        return -((y - x * shrink) ** 2 / (2 * (r**2 + left))).sum((1, 2, 3))

    out = classifier_guided(gaussian(std=s), log_prob)(NOISE, torch.full((3,), level))
    precision = 1 / s**2 + 1 / level**2 + 1 / r**2
    torch.testing.assert_close(out, (NOISE / level**2 + y / r**2) / precision)


def test_label_log_prob() -> None:
    labels = torch.tensor([0, 1, 1])
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    found = label_log_prob(lambda x, sigma: logits, labels)(NOISE, torch.ones(3))
    torch.testing.assert_close(found, torch.tensor([-0.1269, -2.1269, -0.6931]), atol=1e-4, rtol=0)


def test_thresholding() -> None:
    wide = torch.linspace(-3, 3, 100).view(1, 1, 10, 10)

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.cat([wide, wide / 6])

    static = thresholded(model)(NOISE, torch.ones(2))
    assert torch.equal(static, torch.cat([wide, wide / 6]).clamp(-1, 1))
    dynamic = thresholded(model, dynamic=0.9)(NOISE, torch.ones(2))
    limit = wide.abs().flatten().sort().values[89]
    torch.testing.assert_close(dynamic[0], (wide / limit).clamp(-1, 1)[0])
    torch.testing.assert_close(dynamic[1], wide[0] / 6)
    with pytest.raises(ValueError, match="quantile"):
        thresholded(model, dynamic=1.5)


def test_masked_keeps_the_init_where_the_mask_is_zero() -> None:
    init = torch.full((1, 3, 12, 12), 0.8)
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 6:] = 1
    out = euler(masked(gaussian(), init, mask))
    torch.testing.assert_close(out[..., :6], init[..., :6].expand(3, -1, -1, -1))
    torch.testing.assert_close(out[..., 6:], euler(gaussian())[..., 6:])


def wrappers(perceptor: object) -> dict[str, Callable[[Model], Model]]:
    cond, uncond = {"shift": torch.ones(3)}, {"shift": torch.zeros(3)}
    return {
        "free": lambda model: classifier_free(model, cond, uncond, 2.0),
        "steer": lambda model: steer(model, a_guide(perceptor)),
        "through": lambda model: steer(model, a_guide(perceptor, mode="through")),
        "threshold": lambda model: thresholded(model, dynamic=0.95),
        "masked": lambda model: masked(model, torch.zeros(1, 3, 12, 12), torch.ones(1, 1, 12, 12) * 0.5),
        "classifier": lambda model: classifier_guided(model, lambda x, sigma: x.mean((1, 2, 3))),
    }


@pytest.mark.parametrize("first", ["free", "steer", "through", "threshold", "masked", "classifier"])
@pytest.mark.parametrize("second", ["free", "steer", "through", "threshold", "masked", "classifier"])
def test_wrappers_stack_in_any_order(perceptor, first: str, second: str) -> None:
    if first == second == "free":
        second = "steer"  # a model takes its condition once
    ways, model = wrappers(perceptor), gaussian(mean=4.0)
    one, both = euler(ways[first](model)), euler(ways[second](ways[first](model)))
    assert both.isfinite().all()
    if (first, second) != ("threshold", "threshold"):
        assert not torch.allclose(one, both), "the second does something too"


def test_a_steered_model_can_be_differentiated(perceptor) -> None:
    """Through guidance on top of a steered model sees the network below."""
    for mode in MODES:
        inner = steer(gaussian(), a_guide(perceptor, mode=mode), secondary=gaussian())
        x = NOISE.clone().requires_grad_()
        (grad,) = torch.autograd.grad(inner(x, torch.ones(3)).sum(), x)
        torch.testing.assert_close(grad, torch.full_like(grad, 0.2))


def test_secondary_needs_its_model(perceptor) -> None:
    with pytest.raises(ValueError, match="secondary"):
        steer(gaussian(), a_guide(perceptor, mode="secondary"))
