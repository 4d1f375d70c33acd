"""Samplers and sigma schedules against k-diffusion, with a toy denoiser and the noise of the file."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.diffusion import sigmas
from lienzo.diffusion.denoiser import spread
from lienzo.diffusion.sampling import final, sample

pytestmark = pytest.mark.golden("kdiffusion_samplers*.safetensors")
TOLERANCE = 1e-5


class Toy:
    """The denoiser of the file, counting its calls."""

    def __init__(self, golden: Golden):
        self.weight = golden.inputs["W"]
        self.calls = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        s = spread(sigma, x)
        scaled = x / (1 + s**2).sqrt()
        mixed = torch.einsum("oc,bchw->bohw", self.weight, scaled.tanh())
        return mixed / (1 + s) + scaled / (1 + s**2).sqrt()


class Scripted:
    """The noises of the file, in the order of calls."""

    def __init__(self, noises: Tensor):
        self.left = iter(noises)

    def __call__(self, x: Tensor) -> Tensor:
        return next(self.left)


def schedule(golden: Golden, name: str) -> Tensor:
    config = golden.config
    low, high, n = config["sigma_min"], config["sigma_max"], config["n"]
    if name == "karras":
        return sigmas.karras(n, low, high, rho=config["rho"])
    if name == "exponential":
        return sigmas.exponential(n, low, high)
    if name == "polyexponential":
        return sigmas.polyexponential(n, low, high, rho=power_of(golden.outputs["sigmas_polyexponential"]))
    return sigmas.vp(n)


def power_of(levels: Tensor) -> float:
    """The rho of a polyexponential schedule, which the file does not tell, from its second noise level alone."""
    logs = levels[:-1].double().log()
    share = (logs[1] - logs[-1]) / (logs[0] - logs[-1])
    return round(math.log(share) / math.log((len(logs) - 2) / (len(logs) - 1)), 3)


def test_schedules(golden_path: Path) -> None:
    golden = Golden(golden_path)
    expected = {name.removeprefix("sigmas_"): v for name, v in golden.outputs.items() if name.startswith("sigmas_")}
    assert expected
    for name, values in expected.items():
        assert_same(schedule(golden, name), values, TOLERANCE, name)
        assert_same(schedule(golden, name).log()[:-1], values.log()[:-1], 1e-4, f"log {name}")


def options_of(golden: Golden, case: str) -> tuple[str, dict[str, Any]]:
    """The sampler and its options that an output is named after, e.g. ``dpmpp_2m_sde_heun_eta0.5``."""
    name, _, eta = case.partition("_eta")
    options: dict[str, Any] = {"eta": float(eta)} if eta else {}
    if match := re.fullmatch(r"(dpmpp_2m_sde)_(heun|midpoint)", name):
        name, options["solver"] = match.groups()
    if name == "dpmpp_sde":  # the file's noise is used as it is drawn
        options["path"] = "independent"
    return name, options | golden.config.get(name, {})


def test_samplers(golden_path: Path) -> None:
    golden = Golden(golden_path)
    cases = [case for case in golden.outputs if not case.startswith("sigmas_") and not case.endswith("_nfe")]
    assert cases
    levels = schedule(golden, "karras")
    for case in cases:
        name, options = options_of(golden, case)
        at = levels
        if name in ("dpm_fast", "dpm_adaptive"):  # the originals take the ends only and stop above 0
            at = levels[[0, -2]]
            options |= {"calls": golden.config["n"]} if name == "dpm_fast" else {"control": "batch"}
        toy = Toy(golden)
        result = final(sample(name, toy, golden.inputs["x"], at, noise=Scripted(golden.inputs["noises"]), **options))
        assert_same(result, golden.outputs[case], TOLERANCE, case)
        if f"{case}_nfe" in golden.outputs:
            assert toy.calls == golden.outputs[f"{case}_nfe"].item(), case
