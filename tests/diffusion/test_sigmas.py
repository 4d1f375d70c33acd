import math
from collections.abc import Callable

import pytest
import torch
from goldens import assert_same
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion import sigmas
from lienzo.diffusion.denoiser import DiscreteDenoiser, EDMDenoiser, FlowDenoiser, Predictor, VDenoiser, clipped
from lienzo.diffusion.respacing import any_timesteps, space_timesteps
from lienzo.diffusion.schedules import make_betas

COUNTS = [1, 2, 3, 7, 50, 1000]
FREE: dict[str, Callable[[int], Tensor]] = {
    "karras": lambda n: sigmas.karras(n, 0.03, 14.6),
    "exponential": lambda n: sigmas.exponential(n, 0.03, 14.6),
    "polyexponential": lambda n: sigmas.polyexponential(n, 0.03, 14.6, rho=0.7),
    "vp": sigmas.vp,
    "flow": sigmas.flow,
    "v_ddpm": sigmas.v_ddpm,
    "v_log": sigmas.v_log,
    "v_spliced": sigmas.v_spliced,
}


def network(x: Tensor, t: Tensor) -> Tensor:
    return x


def proper(levels: Tensor, n: int) -> bool:
    falls = bool((levels.diff() < 0).all()) and bool(levels.isfinite().all())
    return levels.dtype == torch.float64 and levels.shape == (n + 1,) and falls and levels[-1].item() == 0


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("n", COUNTS)
def test_levels_fall_to_zero(name: str, n: int) -> None:
    levels = FREE[name](n)
    assert proper(levels, n)
    assert levels[0].item() == pytest.approx(FREE[name](10)[0].item())


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_every_count_of_a_table_works(name: str) -> None:
    betas = make_betas(name)
    for n in range(1, 1001):
        levels = sigmas.discrete(betas, n)
        assert proper(levels, n), n
        assert levels[0] == sigmas.discrete(betas, 1)[0]


def test_tables_give_the_levels_of_their_timesteps() -> None:
    betas = make_betas("cosine", 100)
    model = DiscreteDenoiser(network, betas)
    assert torch.equal(sigmas.discrete(betas, 25)[:-1], model.sigmas_for(any_timesteps(100, 25)).flip(0))
    kept = space_timesteps(100, "ddim25")
    assert torch.equal(sigmas.discrete(betas, kept)[:-1], model.sigmas_for(kept[::-1]))
    assert torch.equal(sigmas.discrete(betas, kept), sigmas.discrete(betas, kept[::-1]))


@pytest.mark.parametrize("timesteps", [0, 101, [], [3, 3], [-1, 5], [100]])
def test_tables_refuse_what_they_do_not_have(timesteps: int | list[int]) -> None:
    with pytest.raises(BadInput):
        sigmas.discrete(make_betas("cosine", 100), timesteps)


def test_karras_is_even_in_its_power() -> None:
    levels = sigmas.karras(9, 0.002, 80.0)
    assert levels[[0, -2]].tolist() == pytest.approx([80.0, 0.002])
    steps = (levels[:-1] ** (1 / 7)).diff()
    assert_same(steps, steps[:1].expand_as(steps), 1e-9)


@pytest.mark.parametrize("betas", ["linear", "cosine", "stable_diffusion"])
@pytest.mark.parametrize("n", [1, 2, 10, 100])
def test_karras_on_every_table(betas: str, n: int) -> None:
    """The cosine table breaks diffusers."""
    for timesteps in ("interpolate", "nearest"):
        model = DiscreteDenoiser(network, make_betas(betas), timesteps=timesteps)  # type: ignore[arg-type]
        levels = sigmas.schedule("karras", model, n)
        assert proper(levels, n)
        t = model.timesteps_for(levels)
        assert t[0].item() == pytest.approx(999)
        assert t[-1] == 0
        assert (t.diff() <= 0).all()


def test_exponential_is_even_in_the_log() -> None:
    steps = sigmas.exponential(9, 0.002, 80.0)[:-1].log().diff()
    assert_same(steps, steps[:1].expand_as(steps), 1e-9)
    curved = sigmas.polyexponential(9, 0.002, 80.0, rho=2.0)[:-1].log()
    assert curved[[0, -1]].exp().tolist() == pytest.approx([80.0, 0.002])
    assert curved[4].item() == pytest.approx(0.75 * math.log(0.002) + 0.25 * math.log(80.0))


def test_vp_follows_its_sde() -> None:
    t = torch.linspace(1, 1e-3, 5, dtype=torch.float64)
    alpha_bar = (-(0.1 * t + 19.9 * t**2 / 2)).exp()
    assert_same(sigmas.vp(5)[:-1], (1 / alpha_bar - 1).sqrt(), 1e-9)


def test_flow_is_even_in_t() -> None:
    levels = sigmas.flow(4, t_max=0.8)
    assert_same(levels / (1 + levels), torch.tensor([0.8, 0.6, 0.4, 0.2, 0.0], dtype=torch.float64), 1e-9)


def test_the_splice_is_smooth() -> None:
    crossing = 0.80074257 / (1 + 0.80074257 - 0.48536712)
    u = torch.tensor([crossing - 2e-6, crossing - 1e-6, crossing + 1e-6, crossing + 2e-6], dtype=torch.float64)
    below, jump, above = sigmas.spliced_curve(u).log().diff().tolist()
    assert below == pytest.approx(above, rel=1e-2)
    assert jump == pytest.approx(2 * below, rel=5e-2)


@pytest.mark.parametrize(
    "model",
    [
        DiscreteDenoiser(network, make_betas("linear")),
        FlowDenoiser(network, t_max=0.9),
        VDenoiser(network),
        EDMDenoiser(network),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("name", sigmas.NAMES)
def test_every_name_works_for_every_model(name: str, model: Predictor) -> None:
    for n in (1, 2, 30):
        levels = sigmas.schedule(name, model, n)
        assert proper(levels, n)
        if name in ("karras", "exponential", "polyexponential"):
            assert levels[0].item() == pytest.approx(model.sigma_max)
            assert n == 1 or levels[-2].item() == pytest.approx(model.sigma_min)


def test_native_is_what_the_network_was_made_for() -> None:
    betas = make_betas("cosine", 100)
    assert torch.equal(sigmas.schedule("native", DiscreteDenoiser(network, betas), 7), sigmas.discrete(betas, 7))
    flow = sigmas.schedule("native", FlowDenoiser(network, t_max=0.9), 3)
    assert_same(flow, sigmas.flow(3, t_max=0.9), 1e-9)
    assert torch.equal(sigmas.schedule("native", VDenoiser(network), 7), sigmas.v_spliced(7))


def test_bad_requests_get_a_sentence() -> None:
    model = VDenoiser(network)
    with pytest.raises(BadInput, match="'karas'; choose one of native, karras"):
        sigmas.schedule("karas", model, 10)
    for name in sigmas.NAMES:
        with pytest.raises(BadInput, match="0 steps"):
            sigmas.schedule(name, model, 0)
    with pytest.raises(BadInput, match="native"):
        sigmas.schedule("native", clipped(model), 5)
    for low, high in ((0.0, 1.0), (2.0, 1.0), (0.1, math.inf), (-1.0, 1.0)):
        with pytest.raises(BadInput, match="Noise levels"):
            sigmas.karras(5, low, high)
