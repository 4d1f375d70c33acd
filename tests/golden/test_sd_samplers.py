"""DDIM and PLMS against Stable Diffusion's own samplers, with a toy network and the noise of the file."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.diffusion.denoiser import DiscreteDenoiser, spread
from lienzo.diffusion.samplers.ddim import inpaint_ddim
from lienzo.diffusion.samplers.steps import ancestral
from lienzo.diffusion.sampling import final, sample
from lienzo.diffusion.schedules import alpha_bar_from_sigma, ldm_linear

pytestmark = pytest.mark.golden("sd_samplers_ddim_plms*.safetensors")
TOLERANCE = 1e-5


class Case:
    """The file's network under classifier-free guidance, and its noise levels from the noisiest on.

    Stable Diffusion ends at the level of timestep 0, not at 0; the last picture keeps that level's scaling.
    """

    def __init__(self, golden: Golden):
        self.golden = golden
        config = golden.config
        betas = ldm_linear(config["T"], start=config["linear_start"], end=config["linear_end"])
        self.calls: list[int] = []
        self.model = DiscreteDenoiser(self._guided, betas, timesteps="nearest")
        self.timesteps = golden.outputs["ddim_timesteps"].flip(0)
        self.sigmas = torch.cat([self.model.sigmas_for(self.timesteps), self.model.sigmas[:1]])

    def _guided(self, x: Tensor, t: Tensor) -> Tensor:
        assert t.dtype == torch.int64
        self.calls.append(int(t[0]))

        def eps(cond: Tensor) -> Tensor:
            mixed = torch.einsum("oc,bchw->bohw", self.golden.inputs["W"], x.tanh())
            return mixed + 0.1 * spread((t / 100).sin(), x) + spread(cond.mean((1, 2)), x)

        without, with_ = eps(self.golden.inputs["uncond"]), eps(self.golden.inputs["cond"])
        return without + self.golden.config["cfg_scale"] * (with_ - without)

    @property
    def x(self) -> Tensor:
        return to_ve(self.golden.inputs["x_T"], self.sigmas[0])

    @property
    def end(self) -> Tensor:
        return self.sigmas[-1]


def to_ve(x: Tensor, sigma: Tensor) -> Tensor:
    return x * (1 + sigma**2).sqrt().to(x.dtype)


def to_vp(x: Tensor, sigma: Tensor) -> Tensor:
    return x / (1 + sigma**2).sqrt().to(x.dtype)


def scripted(noises: Tensor) -> Callable[[Tensor], Tensor]:
    left: Iterator[Tensor] = iter(noises)
    return lambda x: next(left)


def test_tables(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    alphas = alpha_bar_from_sigma(case.sigmas)
    # the file's numbers are float64 but went through a float32 table
    assert_same(alphas[:-1].flip(0), golden.outputs["ddim_alphas"], 1e-7)
    assert_same(alphas[1:].flip(0), golden.outputs["ddim_alphas_prev"], 1e-7)
    levels = case.sigmas.tolist()
    noises = [ancestral(a, b, golden.config["eta"])[1] for a, b in pairwise(levels)]
    in_vp = to_vp(torch.tensor(noises, dtype=torch.float64), case.sigmas[1:])
    assert_same(in_vp.flip(0), golden.outputs["ddim_sigmas"], 1e-6)


def test_ddim(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    noise = scripted(golden.inputs["step_noise"])
    result = final(sample("ddim", case.model, case.x, case.sigmas, eta=golden.config["eta"], noise=noise))
    assert_same(to_vp(result, case.end), golden.outputs["ddim"], TOLERANCE)
    assert case.calls == golden.outputs["ddim_call_ts"].tolist()


def test_plms(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    result = final(sample("plms", case.model, case.x, case.sigmas))
    assert_same(to_vp(result, case.end), golden.outputs["plms"], TOLERANCE)
    assert case.calls == golden.outputs["plms_call_ts"].tolist()


def test_inpainting(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    known, mask = golden.inputs["img2img_z0"], golden.inputs["mask"]
    noise = scripted(golden.inputs["mask_q_noise"].expand(len(case.sigmas), *known.shape))
    result = final(inpaint_ddim(case.model, case.x, case.sigmas, known=known, mask=mask, noise=noise))
    assert_same(to_vp(result, case.end), golden.outputs["ddim_masked"], TOLERANCE)


def test_img2img(golden_path: Path) -> None:
    golden = Golden(golden_path)
    case = Case(golden)
    steps = golden.config["img2img_t_enc"]
    noised_to = case.model.sigmas_for(golden.outputs["ddim_timesteps"])[steps]
    x = golden.inputs["img2img_z0"] + noised_to.float() * golden.inputs["img2img_noise"]
    x = to_vp(x, noised_to)
    assert_same(x, golden.outputs["img2img_zenc"], TOLERANCE)
    # The original noises one level higher than it begins to remove.
    sigmas = case.sigmas[-steps - 1 :]
    result = final(sample("ddim", case.model, to_ve(x, sigmas[0]), sigmas))
    assert_same(to_vp(result, case.end), golden.outputs["img2img_dec"], TOLERANCE)
