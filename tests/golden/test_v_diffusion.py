"""Samplers and schedules against v-diffusion, with a toy v network and the noise of the file."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.diffusion import sigmas
from lienzo.diffusion.denoiser import VDenoiser, spread, with_score
from lienzo.diffusion.samplers.ddim import invert_ddim
from lienzo.diffusion.samplers.plms import sample_plms
from lienzo.diffusion.samplers.steps import Step
from lienzo.diffusion.sampling import final, sample

pytestmark = pytest.mark.golden("v_diffusion_sampling*.safetensors")
TOLERANCE = 1e-5


class Scripted:
    """The noises of the file, in the order of calls."""

    def __init__(self, noises: Tensor):
        self.left = iter(noises)

    def __call__(self, x: Tensor) -> Tensor:
        return next(self.left)


def toy(golden: Golden) -> VDenoiser:
    weight = golden.inputs["W"]

    def network(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = spread((t * math.pi / 2).cos(), x), spread((t * math.pi / 2).sin(), x)
        return 0.7 * sigma * x - 0.3 * alpha * torch.einsum("oc,bchw->bohw", weight, x.tanh())

    return VDenoiser(network)


def scaled(x: Tensor, sigma: float) -> Tensor:
    """From the variance-preserving scaling of the file to ours."""
    return x * (1 + sigma**2) ** 0.5


def levels(golden: Golden) -> Tensor:
    return sigmas.v_spliced(golden.config["n"])


def test_schedules(golden_path: Path) -> None:
    golden = Golden(golden_path)
    curves = {"ddpm": sigmas.ddpm_curve, "log": sigmas.log_curve, "spliced": sigmas.spliced_curve}
    expected = {name.removeprefix("schedule_"): v for name, v in golden.outputs.items() if name.startswith("schedule_")}
    assert expected
    for name, values in expected.items():
        u = torch.linspace(1, 0, len(values), dtype=torch.float64)
        assert_same(curves[name](u).atan() * 2 / math.pi, values, TOLERANCE, name)


def forward(golden: Golden, case: str) -> Tensor:
    at = levels(golden)
    x = scaled(golden.inputs["x"], at[0].item())
    model = toy(golden)
    noise = Scripted(golden.inputs["noises"])
    eta = golden.config["eta"]
    if case == "ddim":
        return final(sample("ddim", model, x, at, noise=noise, eta=eta))
    if case == "cond_ddim":

        def score(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
            # the file's gradient is one with respect to alpha * x
            alpha = spread((1 + sigma**2).rsqrt(), x)
            return alpha * golden.inputs["A"] * (alpha * x).cos()

        return final(sample("ddim", with_score(model, score), x, at, noise=noise, eta=eta))
    if case == "plms":
        return final(sample("plms", model, x, at, begin="runge_kutta", finish="multistep"))
    return final(sample(case, model, x, at))


def test_samplers(golden_path: Path) -> None:
    golden = Golden(golden_path)
    cases = [case for case in golden.outputs if not case.startswith(("schedule_", "reverse_"))]
    assert cases
    for case in cases:
        assert_same(forward(golden, case), golden.outputs[case], TOLERANCE, case)


def test_reverse(golden_path: Path) -> None:
    golden = Golden(golden_path)
    rising = levels(golden).flip(0)
    end = scaled(torch.ones(()), rising[-1].item())

    def steps(case: str) -> Iterator[Step]:
        if case == "reverse_ddim":
            return invert_ddim(toy(golden), golden.inputs["A"], rising)
        return sample_plms(toy(golden), golden.inputs["A"], rising, begin="runge_kutta", finish="multistep")

    cases = [case for case in golden.outputs if case.startswith("reverse_")]
    assert cases
    for case in cases:
        assert_same(final(steps(case)) / end, golden.outputs[case], TOLERANCE, case)
