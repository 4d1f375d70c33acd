"""Cutouts, losses and the whole guidance gradient equal clip-diffusion-art's sample.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.guidance import distances, losses
from lienzo.guidance.cutouts import RandomCutouts, random_boxes
from lienzo.guidance.guide import Guide, Target
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.steer import clamp_rms, guided_gradient, steer

pytestmark = pytest.mark.golden("clip_diffusion_art_guidance*.safetensors")


class Case:
    """The toy network and toy CLIP of one golden file."""

    def __init__(self, path: Path):
        self.golden = Golden(path)
        self.config, self.inputs, self.outputs = self.golden.config, self.golden.inputs, self.golden.outputs
        self.size = self.config["cut_size"]
        alpha_bar = torch.tensor(self.config["alpha_bar"], dtype=torch.float64)
        self.alpha_bar = alpha_bar.float()
        self.sigma = ((1 - alpha_bar) / alpha_bar).sqrt().float()

    def options(self, **given: object) -> GuidanceOptions:
        return GuidanceOptions.make(cutn=self.config["cutn"], skip_augs=True, **given)

    def encode_image(self, picture: Tensor, sigma: Tensor | None = None) -> Tensor:
        return F.adaptive_avg_pool2d(picture, 4).flatten(1) @ self.inputs["E"].T

    def encode_text(self, texts: list[str]) -> Tensor:
        raise NotImplementedError

    def model(self, x: Tensor, sigma: Tensor) -> Tensor:
        x = x * self.alpha_bar.sqrt()
        eps = torch.einsum("oc,bchw->bohw", self.inputs["W"], torch.tanh(x))
        return (x - (1 - self.alpha_bar).sqrt() * eps) / self.alpha_bar.sqrt()

    def guide(self, **given: object) -> Guide:
        c = self.config
        options = self.options(
            mode="through",
            clip_guidance_scale=c["clip_guidance_scale"],
            tv_scale=c["tv_scale"],
            # The original averages this loss over the batch, ours over each picture.
            saturation_scale=c["saturation_scale"] / len(self.inputs["x"]),
            cutn_batches=c["cutn_batches"],
            scale_multiplier=c.get("scale_multiplier", 1),
            distance=c.get("loss_fn", "spherical"),
            clamp_max=c["clamp_max"],
            **given,
        )
        targets = self.inputs["targets"]
        weights = torch.tensor(c["weights"])[None]
        stops = torch.full_like(weights, -torch.inf)
        return Guide(options, [Target(self, RandomCutouts(self.size, options), targets, weights, stops)])


def test_boxes_and_cutouts(golden_path: Path) -> None:
    case = Case(golden_path)
    picture = case.inputs["x01"]
    height, width = (side + 2 * (picture.shape[2] // 4) for side in picture.shape[2:])
    boxes = random_boxes(
        case.config["cutn"], height, width, case.size, torch.Generator().manual_seed(case.config["cut_seed"])
    )
    assert_same(boxes, case.outputs["boxes_xywh"], what="boxes")

    torch.manual_seed(case.config["cut_seed"])
    cuts = RandomCutouts(case.size, case.options())(picture)
    by_cutout = cuts.unflatten(0, (len(picture), -1)).transpose(0, 1).flatten(0, 1)  # the original's order
    assert_same(by_cutout, case.outputs["cutouts"], what="cutouts")


@pytest.mark.parametrize("name", ["spherical", "cos_spherical"])
def test_distances(golden_path: Path, name: str) -> None:
    case = Case(golden_path)
    value = distances.DISTANCES.load(name)(case.inputs["a"], case.inputs["b"])
    assert_same(value, case.outputs[name], what=name)


@pytest.mark.parametrize(("name", "loss"), [("tv", losses.tv), ("range", losses.out_of_range)])
def test_losses(golden_path: Path, name: str, loss: losses.Loss) -> None:
    case = Case(golden_path)
    x = case.inputs["x"].clone().requires_grad_()
    value = loss(x)
    assert_same(value, case.outputs[name], what=name)
    assert_same(torch.autograd.grad(value.sum(), x)[0], case.outputs[f"{name}_grad"], what=f"{name} gradient")


def test_saturation(golden_path: Path) -> None:
    case = Case(golden_path)
    assert_same(losses.saturation(case.inputs["x"]).mean(), case.outputs["sat"])


@pytest.mark.parametrize("name", ["grad_unclamped", "grad_unclamped_range0", "grad_clamped"])
def test_gradient(golden_path: Path, name: str) -> None:
    """The range loss of the original has no effect, so ours is off here."""
    case = Case(golden_path)
    x = case.inputs["x"] / case.alpha_bar.sqrt()
    torch.manual_seed(case.config["guidance_seed"])
    _, grad = guided_gradient(case.model, case.guide(range_scale=0), x, case.sigma.expand(len(x)), {})
    if name == "grad_clamped":
        grad = clamp_rms(grad, case.config["clamp_max"], per_picture=False)
    assert_same(grad, case.outputs[name], what=name)


def test_steered_estimate(golden_path: Path) -> None:
    """The steered estimate is the one of guided-diffusion's conditioned DDIM step, with the clamp of a picture."""
    case = Case(golden_path)
    x = case.inputs["x"] / case.alpha_bar.sqrt()
    guide = case.guide(range_scale=0)
    torch.manual_seed(case.config["guidance_seed"])
    steered = steer(case.model, guide)(x, case.sigma.expand(len(x)))
    grad = clamp_rms(case.outputs["grad_unclamped"], case.config["clamp_max"])
    eps = (case.inputs["x"] - case.alpha_bar.sqrt() * case.model(x, case.sigma)) / (1 - case.alpha_bar).sqrt()
    eps = eps - (1 - case.alpha_bar).sqrt() * grad
    expected = (case.inputs["x"] - (1 - case.alpha_bar).sqrt() * eps) / case.alpha_bar.sqrt()
    assert_same(steered, expected)


def test_range_loss_has_a_gradient(golden_path: Path) -> None:
    """Ours differs from the original exactly where the original has a gradient of zero by mistake."""
    case = Case(golden_path)
    x = case.inputs["x"] / case.alpha_bar.sqrt()
    for where in ("denoised", "x_in"):
        torch.manual_seed(case.config["guidance_seed"])
        guide = case.guide(range_scale=1e4, range_on=where)
        _, grad = guided_gradient(case.model, guide, x, case.sigma.expand(len(x)), {})
        assert not torch.allclose(grad, case.outputs["grad_unclamped"], rtol=0.1)
