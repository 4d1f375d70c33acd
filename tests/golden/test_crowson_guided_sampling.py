"""The guided sampling loops of Katherine Crowson's guided-diffusion fork: DDIM, PLMS, and DDPM with a guided mean.

DDIM and PLMS run on noise levels with the guidance as a wrapper of the model. DDPM's guidance moves the mean by the
variance of the step, which depends on both ends of it, so it stays with `GaussianDiffusion`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.diffusion.denoiser import DiscreteDenoiser, Predictor, spread, with_score
from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.diffusion.respacing import respace, space_timesteps
from lienzo.diffusion.sampling import Start, final, sample, start
from lienzo.diffusion.schedules import make_betas
from lienzo.diffusion.sigmas import discrete

pytestmark = pytest.mark.golden("crowson_guided_sampling*.safetensors")
TOLERANCE = 1e-5


class Case:
    """The file's network, its guidance in both scalings, and where its loops begin; `rows` picks pictures."""

    def __init__(self, golden: Golden, rows: slice = slice(None)):
        self.golden, config = golden, golden.config
        self.x, self.target = golden.inputs["x"][rows], golden.inputs["A"][rows]
        self.init, self.noises = golden.inputs["init"][rows], golden.inputs["noises"][:, rows]
        betas = make_betas(config["noise_schedule"], config["diffusion_steps"])
        self.kept = space_timesteps(config["diffusion_steps"], config["timestep_respacing"])
        self.sigmas = discrete(betas, self.kept)
        learned = config["var"] == "LEARNED_RANGE"
        rescale = config["rescale_timesteps"]
        self.model = DiscreteDenoiser(self.network, betas, learned_range=learned, rescale_timesteps=rescale)
        whole = GaussianDiffusion(betas, variance_type=config["var"].lower(), rescale_timesteps=rescale)
        self.diffusion = respace(whole, self.kept)

    def network(self, x: Tensor, t: Tensor) -> Tensor:
        t = spread(t.float(), x)
        mixed = torch.einsum("oc,bchw->bohw", self.golden.inputs["W"], x.tanh())
        direct = torch.zeros_like(mixed)
        direct[:, : x.shape[1]] = x * (t / 1000).sqrt()
        return direct + 0.3 * mixed + 0.1 * (t / 100).sin()

    def scripted(self) -> Callable[[Tensor], Tensor]:
        left: Iterator[Tensor] = iter(self.noises)
        return lambda x: next(left)

    # The file's gradients are with respect to x_vp = alpha x.

    def plain_gradient(self, x_vp: Tensor) -> Tensor:
        return self.target * x_vp.cos()

    def gradient_through(self, denoised: Tensor, x_vp: Tensor) -> Tensor:
        distance = -((denoised.tanh() - self.target) ** 2).sum()
        return 0.3 * torch.autograd.grad(distance, x_vp)[0].tanh()

    @property
    def guided(self) -> Predictor:
        def score(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
            alpha = spread((1 + sigma**2).rsqrt(), x)
            return alpha * self.plain_gradient(alpha * x)

        return with_score(self.model, score)

    @property
    def guided_through(self) -> Predictor:
        def score(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
            alpha = spread((1 + sigma**2).rsqrt(), x)
            distance = -((denoised.tanh() - self.target) ** 2).sum()
            return alpha * (0.3 * (torch.autograd.grad(distance, x)[0] / alpha).tanh())

        return with_score(self.model, score, through_model=True)

    def start(self) -> Start:
        return start(self.init, self.sigmas, lambda x: self.x, skip=self.golden.config["skip_timesteps"])


def by_picture(golden: Golden) -> Iterator[tuple[Case, int]]:
    """The single steps are given a timestep for each picture."""
    for row, t in enumerate(golden.config["step_t"]):
        yield Case(golden, slice(row, row + 1)), t


def ddim_step(case: Case, t: int, model: Predictor) -> Tensor:
    """One step from t, in the file's scaling."""
    sigmas = case.sigmas.flip(0)[[t + 1, t]]
    here, after = sigmas.tolist()
    x = case.x * (1 + here**2) ** 0.5
    moved = final(sample("ddim", model, x, sigmas, eta=case.golden.config["eta"], noise=case.scripted()))
    return moved / (1 + after**2) ** 0.5


def test_ddim_step(golden_path: Path) -> None:
    golden = Golden(golden_path)
    moved = torch.cat([ddim_step(case, t, case.guided) for case, t in by_picture(golden)])
    assert_same(moved, golden.outputs["ddim_step"], TOLERANCE)
    moved = torch.cat([ddim_step(case, t, case.guided_through) for case, t in by_picture(golden)])
    assert_same(moved, golden.outputs["ddim_with_grad"], TOLERANCE)


def test_ddim_step_xstart(golden_path: Path) -> None:
    """The fork returns the clean picture before guidance; here that is the model without its wrapper."""
    golden = Golden(golden_path)
    told = []
    for case, t in by_picture(golden):
        sigma = case.sigmas.flip(0)[t + 1]
        told.append(case.model(case.x * (1 + sigma**2).sqrt().float(), sigma.float()[None]))
    assert_same(torch.cat(told), golden.outputs["ddim_step_xstart"], TOLERANCE)


def test_ddim_loop(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    x, sigmas = case.start()
    steps = list(sample("ddim", case.guided, x, sigmas, eta=golden.config["eta"], noise=case.scripted()))
    assert_same(steps[-1].x, golden.outputs["ddim_loop_skip_init"], TOLERANCE)
    before = case.model(steps[-2].x, sigmas[-2].float().expand(len(x)))
    assert_same(before, golden.outputs["ddim_loop_skip_init_xstart"], TOLERANCE)


def test_plms_loops(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    x, sigmas = case.start()
    order = golden.config["plms_order"]
    result = final(sample("plms", case.guided, x, sigmas, order=order))
    assert_same(result, golden.outputs["plms_loop"], TOLERANCE)
    noise = case.x * (1 + case.sigmas[0].item() ** 2) ** 0.5
    result = final(sample("plms", case.guided_through, noise, case.sigmas, order=order))
    assert_same(result, golden.outputs["plms_loop_guided"], TOLERANCE)


def test_ddpm_loop(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    first = len(case.kept) - 1 - golden.config["skip_timesteps"]
    steps = torch.arange(first, -1, -1)
    x = case.diffusion.q_sample(case.init, steps[:1].expand(len(case.x)), case.x)
    for t, noise in zip(steps, case.noises):
        x = case.diffusion.p_sample(
            case.network,
            x,
            t.expand(len(x)),
            clip_denoised=False,
            cond_fn=lambda x, timesteps: case.plain_gradient(x),
            noise=noise,
        ).x
    assert_same(x, golden.outputs["p_loop"], TOLERANCE)


def test_ddpm_step_through_the_model(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    t = torch.tensor(golden.config["step_t"])

    def cond_fn(x: Tensor, timesteps: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        told = case.diffusion.p_mean_variance(case.network, x, t, clip_denoised=False)
        return case.gradient_through(told.x0, x)

    moved = case.diffusion.p_sample(
        case.network, case.x, t, clip_denoised=False, cond_fn=cond_fn, noise=case.noises[0]
    ).x
    assert_same(moved, golden.outputs["p_with_grad"], TOLERANCE)
