import math
from collections.abc import Callable

import pytest
import torch
from goldens import assert_same
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import (
    DiscreteDenoiser,
    EDMDenoiser,
    FlowDenoiser,
    Prediction,
    Predictor,
    VDenoiser,
    bind,
    clipped,
    predict,
    spread,
    with_score,
    without_grad,
)
from lienzo.diffusion.schedules import make_betas

BETAS = make_betas("linear")
COSINE = make_betas("cosine")
SHAPES = [(3, 2, 4, 4), (3, 5)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Oracle:
    """A network that knows the picture and the noise; it keeps what it was given."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor]):
        self.answer = answer
        self.x = self.t = torch.empty(0)
        self.cond: dict[str, object] = {}

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> Tensor:
        self.x, self.t, self.cond = x, t, cond
        return self.answer(x, t)


def check(model: Predictor, x0: Tensor, noise: Tensor, sigma: Tensor, tells_noise: bool = True) -> Tensor:
    """The adapter finds the picture and the noise that x is made of; x is given back."""
    x = x0 + spread(sigma, x0) * noise
    told = model.predict(x, sigma, y="label")
    assert_same(told.denoised, x0, 1e-9)
    assert torch.equal(told.denoised, model(x, sigma, y="label"))
    assert (told.eps is not None) == tells_noise
    if told.eps is not None:
        assert_same(told.eps, noise, 1e-9)
    return x


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("learned", [False, True])
def test_discrete(shape: tuple[int, ...], prediction: str, learned: bool) -> None:
    x0, noise = random(*shape), random(*shape, seed=1)
    chosen = torch.tensor([0, 400, 999])
    alpha_bar = (1 - BETAS).cumprod(0)[chosen]
    alpha, sigma_vp = spread(alpha_bar.sqrt(), x0), spread((1 - alpha_bar).sqrt(), x0)
    output = {"eps": noise, "v": alpha * noise - sigma_vp * x0, "x0": x0}[prediction]
    network = Oracle(lambda x, t: torch.cat([output, 2 * torch.ones_like(x) - 1], 1) if learned else output)
    model = DiscreteDenoiser(network, BETAS, prediction=prediction, learned_range=learned)  # type: ignore[arg-type]
    sigma = model.sigmas_for(chosen)
    x = check(model, x0, noise, sigma, tells_noise=prediction != "x0")
    assert_same(network.x, alpha * x0 + sigma_vp * noise, 1e-9)
    assert_same(network.t, chosen.double(), 1e-9)
    assert network.cond == {"y": "label"}
    share = model.predict(x, sigma).variance_share
    assert (share is not None) == learned
    if share is not None:
        assert torch.equal(share, torch.ones_like(x))


def test_discrete_options() -> None:
    network = Oracle(lambda x, t: x)
    x = torch.ones(2, 3)
    betas = make_betas("cosine", 100)
    sigma = DiscreteDenoiser(network, betas).sigmas_for([10.4, 98.7]).float()
    DiscreteDenoiser(network, betas)(x, sigma)
    assert network.t.tolist() == pytest.approx([10.4, 98.7], abs=1e-3)
    DiscreteDenoiser(network, betas, rescale_timesteps=True)(x, sigma)
    assert network.t.tolist() == pytest.approx([104, 987], abs=1e-2)
    DiscreteDenoiser(network, betas, timesteps="nearest")(x, sigma)
    assert network.t.dtype == torch.int64
    assert network.t.tolist() == [10, 99]
    DiscreteDenoiser(network, betas, timesteps="nearest", rescale_timesteps=True)(x, sigma)
    assert network.t.is_floating_point()
    assert network.t.tolist() == pytest.approx([100, 990])
    with pytest.raises(BadInput, match="prediction"):
        DiscreteDenoiser(network, betas, prediction="noise")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="timesteps"):
        DiscreteDenoiser(network, betas, timesteps="floor")  # type: ignore[arg-type]


@pytest.mark.parametrize("betas", [BETAS, COSINE, COSINE.float(), BETAS[:1], BETAS[:2]])
def test_levels_and_timesteps_are_inverse(betas: Tensor) -> None:
    model = DiscreteDenoiser(Oracle(lambda x, t: x), betas)
    everyone = torch.arange(len(betas))
    levels = model.sigmas_for(everyone)
    assert torch.equal(levels, model.sigmas)
    assert (model.sigma_min, model.sigma_max) == (levels[0].item(), levels[-1].item())
    assert_same(model.timesteps_for(levels), everyone.double(), 1e-9)
    nearest = DiscreteDenoiser(Oracle(lambda x, t: x), betas, timesteps="nearest")
    assert torch.equal(nearest.timesteps_for(levels.float()), everyone)
    beyond = torch.tensor([0.0, 1e-8, 1e9])
    assert model.timesteps_for(beyond).tolist() == [0, 0, len(betas) - 1]


def test_at_noise_level_zero_the_picture_stays() -> None:
    x = random(2, 3, 4)
    zero = torch.zeros(2, dtype=torch.float64)
    for model in (
        DiscreteDenoiser(Oracle(lambda x, t: x + 1), BETAS),
        DiscreteDenoiser(Oracle(lambda x, t: x + 1), BETAS, prediction="v"),
        VDenoiser(Oracle(lambda x, t: x + 1)),
        FlowDenoiser(Oracle(lambda x, t: x + 1)),
        EDMDenoiser(Oracle(lambda x, t: x + 1)),
    ):
        told = model.predict(x, zero)
        assert torch.equal(told.denoised, x)
        assert told.eps is not None
        assert told.eps.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
def test_v(shape: tuple[int, ...]) -> None:
    x0, noise = random(*shape), random(*shape, seed=1)
    t = torch.tensor([0.1, 0.5, 0.98], dtype=torch.float64)
    alpha, sigma_vp = spread((t * math.pi / 2).cos(), x0), spread((t * math.pi / 2).sin(), x0)
    network = Oracle(lambda x, t: alpha * noise - sigma_vp * x0)
    check(VDenoiser(network), x0, noise, (t * math.pi / 2).tan())
    assert_same(network.t, t, 1e-9)
    assert_same(network.x, alpha * x0 + sigma_vp * noise, 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prediction", ["velocity", "x0"])
def test_flow(shape: tuple[int, ...], prediction: str) -> None:
    x0, noise = random(*shape), random(*shape, seed=1)
    t = torch.tensor([0.0, 0.5, 0.98], dtype=torch.float64)
    network = Oracle(lambda x, t: noise - x0 if prediction == "velocity" else x0)
    model = FlowDenoiser(network, prediction=prediction)  # type: ignore[arg-type]
    check(model, x0, noise, t / (1 - t), tells_noise=prediction == "velocity")
    assert_same(network.t, t, 1e-9)
    assert_same(network.x, (1 - spread(t, x0)) * x0 + spread(t, x0) * noise, 1e-9)
    with pytest.raises(BadInput, match="prediction"):
        FlowDenoiser(network, prediction="eps")  # type: ignore[arg-type]


def test_edm() -> None:
    """The network's target, (x0 - c_skip x) / c_out, gives the picture back and has unit variance on such data."""
    data = 0.7
    x0, noise = data * random(3, 2, 64, 64), random(3, 2, 64, 64, seed=1)
    sigma = torch.tensor([0.01, 0.7, 40.0], dtype=torch.float64)
    level = spread(sigma, x0)
    x = x0 + level * noise
    c_skip, c_out = data**2 / (level**2 + data**2), level * data / (level**2 + data**2).sqrt()
    network = Oracle(lambda given, t: (x0 - c_skip * x) / c_out)
    check(EDMDenoiser(network, sigma_data=data), x0, noise, sigma)
    assert_same(network.t, sigma.log() / 4, 1e-9)
    for values in (network.x, network.answer(x, sigma)):
        assert values.flatten(1).std(1).tolist() == pytest.approx([1, 1, 1], abs=0.03)


def test_half_precision_networks_do_not_lower_the_precision_of_x() -> None:
    x = random(2, 3, 4).float()
    model = DiscreteDenoiser(lambda x, t: x.half(), BETAS)
    assert model(x, torch.ones(2)).dtype == torch.float32


def plain(x: Tensor, sigma: Tensor, shift: float = 0.0) -> Tensor:
    return x / (1 + spread(sigma, x) ** 2) + shift


def test_without_grad_leaves_the_caller_alone() -> None:
    weight = torch.ones(3, requires_grad=True)
    network = torch.nn.Linear(3, 3)
    model = without_grad(DiscreteDenoiser(lambda x, t: network(x) * weight, BETAS))
    assert not model(torch.ones(2, 3), torch.ones(2)).requires_grad
    assert torch.is_grad_enabled()
    assert (model.sigma_min, model.sigma_max) == pytest.approx((0.01, 157.4), rel=1e-2)
    assert without_grad(plain)(torch.ones(2, 3), torch.ones(2)).shape == (2, 3)


def test_bind_fills_conditions_in() -> None:
    x, sigma = random(2, 3), torch.ones(2, dtype=torch.float64)
    assert torch.equal(bind(plain, shift=2.0)(x, sigma), plain(x, sigma, shift=2.0))
    network = Oracle(lambda x, t: x)
    bind(DiscreteDenoiser(network, BETAS), y="fox")(x, sigma)
    assert network.cond == {"y": "fox"}


def test_clipped_changes_the_noise_too() -> None:
    x, sigma = 5 * random(2, 30), torch.ones(2, dtype=torch.float64)
    model = clipped(DiscreteDenoiser(lambda x, t: torch.zeros_like(x), BETAS))
    told = model.predict(x, sigma)
    assert torch.equal(told.denoised, x.clamp(-1, 1))
    assert told.eps is None  # so that samplers derive it from the clamped picture


def test_plain_functions_can_be_asked_to_predict() -> None:
    x, sigma = random(2, 3), torch.ones(2, dtype=torch.float64)
    told = predict(plain, x, sigma, shift=1.0)
    assert torch.equal(told.denoised, plain(x, sigma, 1.0))
    assert told.eps is None
    assert told.variance_share is None


@pytest.mark.parametrize("through", [False, True])
def test_a_score_gives_the_posterior(through: bool) -> None:
    """Gaussian data seen with Gaussian error: the guided picture is E[x0 | x, y] in closed form."""
    data, error, y = 0.8, 0.3, 1.5
    x = random(3, 7)
    sigma = torch.tensor([0.1, 1.0, 9.0], dtype=torch.float64)
    level = spread(sigma, x)
    left = data**2 * level**2 / (data**2 + level**2)  # variance of x0 given x

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        return x * data**2 / (data**2 + spread(sigma, x) ** 2)

    def score(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        if not through:
            return left / level**2 * (y - denoised) / (left + error**2)
        log_p = -((y - denoised) ** 2 / (left + error**2)).sum() / 2
        return torch.autograd.grad(log_p, x)[0]

    guided = without_grad(with_score(model, score, through_model=through))
    expected = model(x, sigma) + left / (left + error**2) * (y - model(x, sigma))
    told = guided(x, sigma)
    assert_same(told, expected, 1e-9)
    assert not told.requires_grad
    assert torch.is_grad_enabled()


def test_a_score_moves_picture_and_noise_together() -> None:
    x, sigma = random(2, 3), torch.tensor([0.5, 2.0], dtype=torch.float64)
    model = with_score(DiscreteDenoiser(lambda x, t: x.sin(), BETAS), lambda x, sigma, denoised: x.cos())
    told = model.predict(x, sigma)
    assert told.eps is not None
    assert_same(told.denoised + spread(sigma, x) * told.eps, x, 1e-9)


def test_a_predictor_must_predict() -> None:
    with pytest.raises(NotImplementedError):
        Predictor()(torch.ones(1), torch.ones(1))
    assert Prediction(torch.ones(1)).eps is None
