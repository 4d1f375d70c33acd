"""GaussianDiffusion equals guided-diffusion's gaussian_diffusion.py, respace.py and losses.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.diffusion.respacing import respace, space_timesteps
from lienzo.diffusion.schedules import make_betas

MEAN_TYPES = {"EPSILON": "eps", "START_X": "x0", "PREVIOUS_X": "previous_x"}
MATHS = 1e-5
TABLES = 1e-12


class Case:
    """One golden file: its diffusion, toy network and guidance."""

    def __init__(self, path: Path):
        self.golden = Golden(path)
        config = self.golden.config
        trained = GaussianDiffusion(
            make_betas(config["noise_schedule"], config["diffusion_steps"]),
            mean_type=MEAN_TYPES[config["model_mean_type"]],
            variance_type=config["model_var_type"].lower(),
            loss_type=config["loss_type"].lower(),
            rescale_timesteps=config["rescale_timesteps"],
        )
        kept = space_timesteps(config["diffusion_steps"], config.get("timestep_respacing", ""))
        self.diffusion = respace(trained, kept)
        self.inputs, self.outputs = self.golden.inputs, self.golden.outputs
        self.x0, self.t, self.noise = (self.inputs[key] for key in ("x0", "t", "noise"))
        self.x = self.diffusion.q_sample(self.x0, self.t, self.noise)

    def model(self, x: Tensor, timesteps: Tensor) -> Tensor:
        wave = 0.1 * torch.sin(timesteps.float() / 100)[:, None, None, None]
        return torch.einsum("oc,bchw->bohw", self.inputs["W"], torch.tanh(x)) + wave

    def gradient(self, x: Tensor, timesteps: Tensor) -> Tensor:
        return self.inputs["cond_grad"] * torch.cos(timesteps.float() / 300)[:, None, None, None]

    def check(self, tolerance: float = MATHS, **actual: Tensor) -> None:
        for name, value in actual.items():
            assert_same(value, self.outputs[name], tolerance, name)

    def eta(self, name: str) -> float:
        return float(name.removeprefix("ddim_eta"))


@pytest.fixture
def case(golden_path: Path) -> Case:
    return Case(golden_path)


ALL = pytest.mark.golden("guided_maths_*.safetensors")


@ALL
def test_tables_and_the_timesteps_that_the_network_sees(case: Case) -> None:
    diffusion = case.diffusion
    assert diffusion.timestep_map.tolist() == case.golden.config["timestep_map"]
    case.check(
        TABLES,
        betas64=diffusion.betas,
        alphas_cumprod64=diffusion.alphas_cumprod,
        posterior_log_variance_clipped64=diffusion.posterior_log_variance_clipped,
    )
    case.check(model_ts=diffusion.model_timesteps(case.t).float())


@ALL
def test_forward_process(case: Case) -> None:
    mean, variance, log_variance = case.diffusion.q_mean_variance(case.x0, case.t)
    case.check(q_sample=case.x, q_mean=mean, q_var=variance, q_logvar=log_variance)
    mean, variance, log_variance = case.diffusion.q_posterior(case.x0, case.x, case.t)
    case.check(q_posterior_mean=mean, q_posterior_var=variance, q_posterior_logvar=log_variance)


@ALL
@pytest.mark.parametrize("clip", [False, True])
def test_reverse_process(case: Case, clip: bool) -> None:
    p = case.diffusion.p_mean_variance(case.model, case.x, case.t, clip_denoised=clip)
    end = f"_clip{int(clip)}"
    case.check(
        **{
            "p_mean" + end: p.mean,
            "p_variance" + end: p.variance,
            "p_log_variance" + end: p.log_variance,
            "p_pred_xstart" + end: p.x0,
        }
    )


@ALL
def test_sampling_steps(case: Case) -> None:
    given = (case.model, case.x, case.t)
    noise = case.inputs["step_noise"]
    diffusion = case.diffusion
    case.check(
        p_sample=diffusion.p_sample(*given, noise=noise).x,
        p_sample_cond_mean=diffusion.p_sample(*given, cond_fn=case.gradient, noise=noise).x,
        ddim_cond_score=diffusion.ddim_sample(*given, cond_fn=case.gradient, noise=noise).x,
        ddim_reverse=diffusion.ddim_reverse(*given).x,
    )
    for name in case.outputs:
        if name.startswith("ddim_eta"):
            case.check(**{name: diffusion.ddim_sample(*given, eta=case.eta(name), noise=noise).x})


@ALL
def test_losses(case: Case) -> None:
    losses = case.diffusion.training_losses(case.model, case.x0, case.t, case.noise)
    expected = {name for name in case.outputs if name.startswith("loss_")}
    assert expected <= {f"loss_{name}" for name in losses}
    case.check(**{name: losses[name.removeprefix("loss_")] for name in expected})
    case.check(prior_bpd=case.diffusion.prior_bpd(case.x0))


@ALL
def test_variational_bound(case: Case) -> None:
    output = case.model(case.x, case.diffusion.model_timesteps(case.t))
    vb, _ = case.diffusion.vb_terms(output, case.x0, case.x, case.t)
    case.check(vb_output=vb)
