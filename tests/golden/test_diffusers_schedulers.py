"""Samplers against the schedulers of diffusers, with a toy eps network and the noise of the file.

The test turns each scheduler's timesteps into noise levels; the samplers do the rest. Its defaults are those of
diffusers; of `extra` in the file, the part for ddim holds for the scaled-linear betas only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.diffusion import schedules
from lienzo.diffusion.denoiser import DiscreteDenoiser, Predictor, clipped, spread
from lienzo.diffusion.sampling import final, sample
from lienzo.diffusion.sigmas import karras

pytestmark = pytest.mark.golden("diffusers_schedulers*.safetensors")
TOLERANCE = 1e-5


@dataclass
class Run:
    """How one scheduler is expressed here: the sampler, its options, noise levels, and what it starts from."""

    sampler: str
    sigmas: Tensor
    start_vp: bool = True  # x is the state itself, not noise to be multiplied by the first level
    nearest: bool = True
    clip: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def betas_of(golden: Golden) -> Tensor:
    """The float32 betas of diffusers; the far end of the cosine schedule shows the difference to float64."""
    config = golden.config
    total = config["num_train_timesteps"]
    if config["beta_schedule"] == "scaled_linear":
        betas = schedules.ldm_linear(total, start=config["beta_start"], end=config["beta_end"])
    elif config["beta_schedule"] == "linear":
        betas = schedules.ldm_sqrt_linear(total, start=config["beta_start"], end=config["beta_end"])
    else:
        betas = schedules.cosine(total)
    return betas.float().double()


def extra(golden: Golden, scheduler: str) -> dict[str, str]:
    """The constructor options that the file tells of a scheduler, as text."""
    known = golden.config.get("extra", {})
    text = known.get(scheduler, "")
    if golden.config["beta_schedule"] == "scaled_linear":
        text = text or known.get(f"{scheduler}(sd)", "")
    return dict(part.split("=") for part in text.split(",") if part)


def leading(golden: Golden, offset: int) -> list[int]:
    n = golden.config["num_inference_steps"]
    stride = golden.config["num_train_timesteps"] // n
    return [i * stride + offset for i in reversed(range(n))]


def run_of(golden: Golden, name: str, table: Tensor) -> Run:
    """How the scheduler `name` (as in the names of the outputs) is expressed here; table is sigma of each timestep."""
    n, total = golden.config["num_inference_steps"], golden.config["num_train_timesteps"]
    zero = table.new_zeros(1)
    if name == "ddpm":
        sigmas = torch.cat([table[leading(golden, 0)], zero])
        return Run("ddpm", sigmas, clip=True)
    if name in ("ddim", "pndm"):
        options = extra(golden, name)
        # by default DDIM ends at noise level 0 and PNDM at that of timestep 0
        ends_clean = options.get("set_alpha_to_one", str(name == "ddim")) == "True"
        sigmas = torch.cat(
            [table[leading(golden, int(options.get("steps_offset", 0)))], zero if ends_clean else table[:1]]
        )
        if name == "pndm":
            return Run("plms", sigmas)
        return Run("ddim", sigmas, options={"clip": options.get("clip_sample", "True") == "True"})
    if name.startswith("dpmpp_2m"):
        timesteps = np.linspace(0, total - 1, n + 1).round()[::-1][:-1].astype(np.int64).tolist()
        even = torch.cat([table[timesteps], zero])
        return Run("dpmpp_2m", karras(n, table[0].item(), table[-1].item()) if name.endswith("karras") else even)
    fractional = np.linspace(0, total - 1, n)[::-1]
    sigmas = torch.from_numpy(np.interp(fractional, np.arange(total), table.numpy()))
    return Run(name, torch.cat([sigmas, zero]), start_vp=False, nearest=False)


class Toy:
    """The network of the file; it remembers the timesteps that it was called with."""

    def __init__(self, golden: Golden):
        self.weight = golden.inputs["W"]
        self.calls: list[float] = []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls.append(t[0].item())
        mixed = torch.einsum("oc,bchw->bohw", self.weight, x.tanh())
        return x * spread((t / 1000).sqrt(), x) + 0.3 * mixed + 0.05


def result_of(golden: Golden, name: str, toy: Toy) -> Tensor:
    betas = betas_of(golden)
    run = run_of(golden, name, schedules.sigma_from_alpha_bar(schedules.alphas_cumprod(betas)))
    model: Predictor = DiscreteDenoiser(toy, betas, timesteps="nearest" if run.nearest else "interpolate")
    model = clipped(model) if run.clip else model
    first, last = run.sigmas[0], run.sigmas[-1]
    x = golden.inputs["x"] * ((1 + first**2).sqrt() if run.start_vp else first).item()
    left: Iterator[Tensor] = iter(golden.inputs["noises"])
    result = final(sample(run.sampler, model, x, run.sigmas, noise=lambda x: next(left), **run.options))
    return result / (1 + last**2).sqrt().item()


def test_betas(golden_path: Path) -> None:
    golden = Golden(golden_path)
    assert_same(betas_of(golden).float(), golden.outputs["ddpm_betas"], 1e-6)


def test_schedulers(golden_path: Path) -> None:
    golden = Golden(golden_path)
    names = [name.removeprefix("x_") for name in golden.outputs if name.startswith("x_")]
    assert names
    for name in names:
        toy = Toy(golden)
        assert_same(result_of(golden, name, toy), golden.outputs[f"x_{name}"], TOLERANCE, name)
        # linear in sigma there and in log sigma here, fractional timesteps differ in the third decimal
        assert toy.calls == pytest.approx(golden.outputs[f"ts_{name}"].tolist(), abs=5e-3), name


def test_karras_on_any_schedule(golden_path: Path) -> None:
    """diffusers raises an IndexError for the cosine schedule."""
    golden = Golden(golden_path)
    betas = betas_of(golden)
    model = DiscreteDenoiser(Toy(golden), betas, timesteps="nearest")
    sigmas = karras(golden.config["num_inference_steps"], model.sigma_min, model.sigma_max)
    x = golden.inputs["x"] * sigmas[0].item()
    for step in sample("dpmpp_2m", model, x, sigmas):
        assert step.x.isfinite().all()
    assert step.sigma == 0
