"""What every sampler of the table must do, on data whose best denoiser is known; and what each one promises."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from goldens import assert_same
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion import sigmas
from lienzo.diffusion.denoiser import DiscreteDenoiser, FlowDenoiser, Prediction, Predictor, VDenoiser, clipped, spread
from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.diffusion.respacing import any_timesteps, respace
from lienzo.diffusion.samplers.ddim import inpaint_ddim, invert_ddim
from lienzo.diffusion.samplers.lms import adams_bashforth
from lienzo.diffusion.sampling import SAMPLERS, Step, final, invert, sample, start
from lienzo.diffusion.schedules import make_betas
from lienzo.nn.noise import PictureNoise

MEAN, DEVIATION = 0.3, 0.7

# The order of accuracy on smooth uneven noise levels, of each sampler without noise.
ORDERS = {
    "euler": 1,
    "euler_ancestral": 1,
    "ddim": 1,
    "heun": 2,
    "dpm_2": 2,
    "dpm_2_ancestral": 2,
    "dpm_fast": 2,
    "dpmpp_2s_ancestral": 2,
    "dpmpp_sde": 2,
    "dpmpp_2m": 2,
    "dpmpp_2m_sde": 2,
    "dpmpp_3m_sde": 2,
    "plms": 2,
    "plms2": 2,
    "iplms": 2,
    "prk": 2,
    "pie": 2,
    "lms": 3,
}
# Options that bring noise in; without a row a sampler draws none.
STOCHASTIC: dict[str, dict[str, Any]] = {
    "euler": {"s_churn": 20.0},
    "heun": {"s_churn": 20.0},
    "dpm_2": {"s_churn": 20.0},
    "euler_ancestral": {},
    "dpm_2_ancestral": {},
    "dpm_fast": {"eta": 0.5},
    "dpm_adaptive": {"eta": 0.5, "rtol": 0.01, "atol": 0.002},
    "dpmpp_2s_ancestral": {},
    "dpmpp_sde": {},
    "dpmpp_2m_sde": {},
    "dpmpp_3m_sde": {},
    "ddpm": {},
    "ddim": {"eta": 1.0},
}
EVERY = sorted(SAMPLERS)


class Bell(Predictor):
    """The perfect denoiser of pixels drawn from N(MEAN, DEVIATION^2). It counts its calls."""

    sigma_min, sigma_max = 0.02, 10.0

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, x: Tensor, sigma: Tensor) -> Prediction:
        self.calls += 1
        assert sigma.shape == (len(x),)
        level = spread(sigma, x)
        eps = (x - MEAN) * level / (DEVIATION**2 + level**2)
        return Prediction((x * DEVIATION**2 + MEAN * level**2) / (DEVIATION**2 + level**2), eps)


def only_denoised(x: Tensor, sigma: Tensor) -> Tensor:
    """A model without `predict`."""
    return Bell()(x, sigma)


def flowed(x: Tensor, sigma: float, to: float) -> Tensor:
    """Where the probability flow of that data takes x exactly."""
    return MEAN + (x - MEAN) * ((DEVIATION**2 + to**2) / (DEVIATION**2 + sigma**2)) ** 0.5


def quiet(name: str) -> dict[str, Any]:
    """Options that leave the noise out of a sampler that has it by default."""
    return {"eta": 0.0} if name in STOCHASTIC and not STOCHASTIC[name] and name != "ddpm" else {}


def noise_of(seed: int) -> PictureNoise:
    return PictureNoise([seed])


def points(*shape: int, seed: int = 0) -> Tensor:
    return 10 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_sampler_is_judged() -> None:
    assert set(ORDERS) | set(STOCHASTIC) == set(EVERY)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("model", [Bell(), only_denoised], ids=["with_noise", "denoised_only"])
def test_order_of_accuracy(name: str, model: Any) -> None:
    x = points(2, 5)
    errors = []
    for n in (40, 80, 160):
        levels = sigmas.karras(n, 0.1, 10.0)[:-1]
        result = final(sample(name, model, x, levels, **quiet(name)))
        errors.append((result - flowed(x, 10.0, 0.1)).abs().max().item())
    slope = math.log2(errors[0] / errors[-1]) / 2
    assert ORDERS[name] - 0.15 < slope < ORDERS[name] + 0.75
    assert errors[-1] < 0.02


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("control", ["picture", "batch"])
def test_the_adaptive_sampler_keeps_its_tolerance(order: int, control: str) -> None:
    x = points(2, 5)
    levels = torch.tensor([10.0, 0.1], dtype=torch.float64)
    model = Bell()
    calls = []
    for tolerance in (1e-2, 1e-3, 1e-4):
        model.calls = 0
        options = {"order": order, "rtol": tolerance, "atol": tolerance, "control": control}
        error = final(sample("dpm_adaptive", model, x, levels, **options)) - flowed(x, 10.0, 0.1)
        assert error.abs().max() < 30 * tolerance
        calls.append(model.calls)
    assert calls[0] < calls[1] < calls[2] < 400


@pytest.mark.parametrize("begin", ["improved_euler", "runge_kutta", "euler"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_plms_options(begin: str, order: int) -> None:
    """On even levels Adams-Bashforth has its full order, unless a lower start spoils it."""
    x = points(2, 5)
    errors = []
    for n in (20, 40, 80):
        levels = torch.linspace(3.0, 0.5, n + 1, dtype=torch.float64)
        result = final(sample("plms", Bell(), x, levels, begin=begin, order=order))
        errors.append((result - flowed(x, 3.0, 0.5)).abs().max().item())
    started = {"improved_euler": 4, "runge_kutta": 3, "euler": 2}[begin]
    assert math.log2(errors[0] / errors[-1]) / 2 > min(order, started) - 0.3


@pytest.mark.parametrize("name", STOCHASTIC)
def test_noise_gives_the_right_distribution(name: str) -> None:
    x = MEAN + points(1, 50_000) * (1 + (DEVIATION / 10) ** 2) ** 0.5
    levels = sigmas.karras(150, 0.02, 10.0)
    result = final(sample(name, Bell(), x, levels, noise=noise_of(1), **STOCHASTIC[name]))
    assert result.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert result.std().item() == pytest.approx(DEVIATION, rel=0.045)
    # it is noise: the result is not what the flow alone would give
    assert abs(torch.corrcoef(torch.stack([result[0], x[0]]))[0, 1].item()) < 0.9


def test_a_brownian_path_is_more_accurate() -> None:
    x = MEAN + points(1, 50_000)
    levels = sigmas.karras(10, 0.02, 10.0)
    wide = [
        final(sample("dpmpp_sde", Bell(), x, levels, noise=noise_of(1), path=path)).std().item()
        for path in ("brownian", "independent")
    ]
    assert abs(wide[0] - DEVIATION) < abs(wide[1] - DEVIATION) / 2


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 50])
def test_every_step_count(name: str, n: int) -> None:
    x = points(2, 3, 4, 4)
    model = DiscreteDenoiser(lambda x, t: x / 2, make_betas("linear", 50))
    levels = sigmas.schedule("native", model, n)
    steps = list(sample(name, model, x, levels, noise=PictureNoise([1, 2])))
    assert all(step.x.isfinite().all() for step in steps)
    assert [step.index for step in steps] == list(range(len(steps)))
    assert steps[-1].sigma == 0
    assert all(before.sigma > after.sigma for before, after in pairwise(steps))
    if name == "dpm_fast":
        assert len(steps) <= n
    elif name != "dpm_adaptive":
        assert [step.sigma for step in steps] == levels[1:].tolist()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("model", [VDenoiser(lambda x, t: x / 2), FlowDenoiser(lambda x, t: x / 2)])
def test_every_family(name: str, model: Predictor) -> None:
    levels = sigmas.schedule("native", model, 5)
    x, levels = start(torch.zeros(2, 3, 4), levels, PictureNoise([3, 4]))
    assert final(sample(name, model, x, levels, noise=PictureNoise([1, 2]))).isfinite().all()


@pytest.mark.parametrize("name", EVERY)
def test_dpm_fast_and_others_use_the_calls_they_promise(name: str) -> None:
    calls = {
        **dict.fromkeys(("heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"), 2 * 9 - 1),
        **{"pie": 18, "prk": 36, "plms": 10, "plms2": 10},
    }
    model = Bell()
    final(sample(name, model, points(1, 4), sigmas.karras(9, 0.02, 10.0)))
    assert name == "dpm_adaptive" or model.calls == calls.get(name, 9)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 6), (3,)])
def test_a_picture_is_the_same_alone_and_in_a_batch(name: str, shape: tuple[int, ...]) -> None:
    model = clipped(DiscreteDenoiser(lambda x, t: x * spread(t, x) / 1000, make_betas("linear")), -2, 2)
    levels = sigmas.karras(8, model.sigma_min, model.sigma_max)
    noise = PictureNoise([7, 8, 9])
    x = levels[0].item() * noise(torch.zeros(shape, dtype=torch.float64))
    x[0] /= 50  # unlike the others, so that a shared step size would show
    together = final(sample(name, model, x, levels, noise=noise, **STOCHASTIC.get(name, {})))
    for row, seed in enumerate([7, 8, 9]):
        noise = PictureNoise([seed])
        noise(x[:1])
        one = final(sample(name, model, x[row : row + 1], levels, noise=noise, **STOCHASTIC.get(name, {})))
        assert_same(one, together[row : row + 1], 1e-10)
    again = PictureNoise([7, 8, 9])
    again(x)
    assert torch.equal(together, final(sample(name, model, x, levels, noise=again, **STOCHASTIC.get(name, {}))))


@pytest.mark.parametrize("name", EVERY)
def test_gradients_stay_on_in_the_caller(name: str) -> None:
    weight = torch.ones((), requires_grad=True)
    model = DiscreteDenoiser(lambda x, t: x * weight, make_betas("linear"))
    x = torch.ones(1, 4, requires_grad=True)
    for step in sample(name, model, x, sigmas.schedule("native", model, 4)):
        assert torch.is_grad_enabled()
        assert not step.x.requires_grad
        assert not step.denoised.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", EVERY)
def test_closing_stops_the_work(name: str) -> None:
    model = Bell()
    steps = sample(name, model, points(1, 4), sigmas.karras(20, 0.02, 10.0))
    assert model.calls == 0
    next(steps)
    done = model.calls
    assert 0 < done < 8
    steps.close()  # type: ignore[attr-defined]
    assert next(steps, None) is None
    assert model.calls == done


@pytest.mark.parametrize("name", EVERY)
def test_the_start_and_the_precision_are_kept(name: str) -> None:
    x = points(1, 4).float()
    before = x.clone()
    levels = sigmas.karras(4, 0.02, 10.0)
    for step in sample(name, Bell(), x, levels):
        assert step.x.dtype == step.denoised.dtype == torch.float32
        assert step.x.shape == x.shape
    assert torch.equal(x, before)


def test_ddpm_is_that_of_the_respaced_diffusion() -> None:
    betas = make_betas("linear", 100)
    kept = any_timesteps(100, 9)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([x.sin(), (x + spread(t, x)).cos()], 1)

    noises = points(9, 2, 3, 4, seed=1) / 10
    levels = sigmas.discrete(betas, kept)
    for variance, learned in (("small", False), ("large", False), ("learned", True)):
        net = network if learned else lambda x, t: x.sin()
        model = DiscreteDenoiser(net, betas, learned_range=learned)
        x = points(2, 3, 4) / 10
        left = iter(noises)
        start_ = x * (1 + levels[0].item() ** 2) ** 0.5
        ours = final(sample("ddpm", model, start_, levels, variance=variance, noise=lambda x, left=left: next(left)))
        kind = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}[variance]
        diffusion = respace(GaussianDiffusion(betas, variance_type=kind), kept)  # type: ignore[arg-type]
        for t, noise in zip(range(8, -1, -1), noises):
            x = diffusion.p_sample(net, x, torch.tensor([t, t]), clip_denoised=False, noise=noise).x
        assert_same(ours, x, 1e-9, variance)


def test_a_learned_variance_must_be_there() -> None:
    with pytest.raises(BadInput, match="learned a variance"):
        final(sample("ddpm", Bell(), points(1, 4), sigmas.karras(4, 0.02, 10.0), variance="learned"))


def test_ddim_can_clip_only_the_picture() -> None:
    """x0 is clamped; the direction stays that of the unclamped prediction."""
    levels = torch.tensor([5.0, 2.0], dtype=torch.float64)
    x = points(1, 50)
    denoised = only_denoised(x, torch.tensor([5.0], dtype=torch.float64))
    moved = final(sample("ddim", only_denoised, x, levels, clip=True))
    assert_same(moved, denoised.clamp(-1, 1) + 2.0 * (x - denoised) / 5.0, 1e-9)


@pytest.mark.parametrize("model", [Bell(), only_denoised], ids=["with_noise", "denoised_only"])
def test_inversion_finds_the_noise_back(model: Any) -> None:
    picture = MEAN + points(2, 6) * 0.07
    levels = sigmas.karras(400, 0.02, 10.0)
    noisy = final(invert(model, picture, levels))
    assert_same(noisy, flowed(picture, 0.02, 10.0), 0.03)
    assert_same(final(sample("ddim", model, noisy, levels)), picture, 0.03)


def test_inversion_from_a_clean_picture() -> None:
    picture = MEAN + points(2, 6) * 0.07
    rising = sigmas.karras(400, 0.02, 10.0).flip(0)
    assert_same(final(invert_ddim(Bell(), picture, rising)), flowed(picture, 0.0, 10.0), 0.03)
    with pytest.raises(BadInput, match="clean picture"):
        final(invert_ddim(only_denoised, picture, rising))
    with pytest.raises(BadInput, match="two noise levels"):
        invert(Bell(), picture, torch.tensor([1.0, 0.0]))


def test_inpainting_keeps_the_known_part_and_its_noise_level() -> None:
    known, mask = torch.full((1, 1, 4, 4), 0.9), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    seen: list[Tensor] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)

    levels = torch.tensor([4.0, 2.0, 1.0, 0.0])
    steps = list(inpaint_ddim(model, torch.zeros(1, 1, 4, 4), levels, known=known, mask=mask, noise=torch.ones_like))
    assert [(step.index, step.sigma) for step in steps] == [(0, 2.0), (1, 1.0), (2, 0.0)]
    for x, sigma in zip(seen, (4.0, 2.0, 1.0)):
        assert_same(x[..., :2], torch.full((1, 1, 4, 2), 0.9 + sigma), 1e-6)
        assert not x[..., 2:].any()


def test_start_noises_a_picture_to_its_level() -> None:
    levels = sigmas.karras(10, 0.02, 10.0)
    init = points(2, 3)
    x, left = start(init, levels, torch.ones_like, skip=6)
    assert torch.equal(left, levels[6:])
    assert_same(x, init + levels[6].item(), 1e-12)
    assert start(init, levels).sigmas.shape == (11,)
    for skip in (-1, 10):
        with pytest.raises(BadInput, match="skip 0 to 9"):
            start(init, levels, skip=skip)


def test_more_skipped_stays_closer() -> None:
    levels, init = sigmas.karras(20, 0.02, 10.0), torch.full((1, 1000), 5.0)
    distances = []
    for skip in (0, 10, 15, 19):
        x, left = start(init, levels, noise_of(1), skip=skip)
        distances.append((final(sample("dpmpp_2m", Bell(), x, left)) - init).abs().mean().item())
    assert distances == sorted(distances, reverse=True)


def test_adams_bashforth_is_exact_for_polynomials() -> None:
    known, following = [2.0, 2.5, 3.7, 4.0], 1.1
    for power in range(4):
        integral = (following ** (power + 1) - known[0] ** (power + 1)) / (power + 1)
        found = sum(w * at**power for w, at in zip(adams_bashforth(known, following), known))
        assert found == pytest.approx(integral, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("eulr", {}, "There is no sampler 'eulr'; did you mean 'euler'"),
        ("euler", {"eta": 0.5}, "'euler' has no option 'eta'; it has s_churn, s_noise, s_tmax, s_tmin"),
        ("prk", {"eta": 0.5}, "'prk' has no option 'eta'; it has none"),
        ("ddim", {"eta": -0.5}, "'eta' .* was -0.5; it should be a number, 0 or more"),
        ("ddim", {"eta": math.nan}, "'eta'"),
        ("ddim", {"eta": "much"}, "'eta'"),
        ("ddim", {"clip": 1}, "'clip' .* should be true or false"),
        ("ddpm", {"variance": "big"}, "'variance' .* should be one of small, large, learned"),
        ("plms", {"order": 5}, "'order' .* should be one of 1, 2, 3, 4"),
        ("lms", {"order": 0}, "'order' .* should be a whole number, 1 or more"),
        ("dpm_fast", {"calls": 2.5}, "'calls' .* should be a whole number"),
        ("dpm_adaptive", {"tries": 0}, "'tries' .* should be a whole number, 1 or more"),
    ],
)
def test_bad_options_get_a_sentence_at_once(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        sample(name, Bell(), points(1, 2), sigmas.karras(4, 0.02, 10.0), **options)


@pytest.mark.parametrize(
    "levels", [[1.0], [], [1.0, 1.0], [1.0, 2.0], [1.0, math.nan], [math.inf, 1.0], [1.0, -1.0], [[2.0, 1.0]]]
)
def test_bad_levels_get_a_sentence_at_once(levels: list[Any]) -> None:
    with pytest.raises(BadInput, match="fall strictly"):
        sample("euler", Bell(), points(1, 2), torch.tensor(levels))


def test_the_adaptive_sampler_ends_whatever_is_asked() -> None:
    steps = list(sample("dpm_adaptive", Bell(), points(1, 2), torch.tensor([1.0, 0.9, 0.0]), rtol=0.0, atol=1e-30))
    assert steps[-1].sigma == 0
    assert len(steps) < 200


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("tries", [1, 2, 7, 40])
def test_the_adaptive_sampler_keeps_to_its_tries(order: int, tries: int) -> None:
    """A rough model, whose pull turns about from call to call, asks for thousands; pictures apart from each other."""
    calls = 0

    def rough(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return Bell()(x, sigma) + 0.3 * (-1) ** calls

    x, levels = points(2, 5) * torch.tensor([[1.0], [0.01]], dtype=torch.float64), sigmas.karras(40, 0.02, 10.0)
    steps = list(sample("dpm_adaptive", rough, x, levels, order=order, tries=tries))
    assert steps[-1].sigma == 0
    assert len(steps) <= tries + 1
    assert calls <= order * tries + 1
    assert steps[-1].x.isfinite().all()


def test_tries_leave_a_smooth_model_its_steps() -> None:
    x, levels = points(2, 5), sigmas.karras(40, 0.02, 10.0)
    model = Bell()
    free = final(sample("dpm_adaptive", model, x, levels))
    tries = (model.calls - 1) // 3
    assert torch.equal(free, final(sample("dpm_adaptive", model, x, levels, tries=2 * tries)))
    few = final(sample("dpm_adaptive", model, x, levels, tries=6))
    assert (few - flowed(x, 10.0, 0.0)).abs().max() < 0.5


def test_samplers_tell_what_they_cannot_do() -> None:
    levels = sigmas.karras(4, 0.02, 10.0)
    with pytest.raises(BadInput, match="'r'"):
        final(sample("dpmpp_sde", Bell(), points(1, 2), levels, r=0.0))
    with pytest.raises(BadInput, match="two calls"):
        final(sample("dpm_fast", Bell(), points(1, 2), levels, calls=1))
    with pytest.raises(BadInput, match="not finite"):
        final(sample("dpm_adaptive", lambda x, sigma: x * math.nan, points(1, 2), levels))


def test_final_needs_a_step() -> None:
    empty: Iterator[Step] = iter(())
    with pytest.raises(BadInput, match="no step"):
        final(empty)
