"""The peer of benchmarks/guided_sampling.py has the gradient of clip-diffusion-art; both sides paint."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from goldens import Golden, assert_same
from torch import Tensor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guided_sampling", ROOT / "benchmarks" / "guided_sampling.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class ToyClip:
    """The toy CLIP of the golden file."""

    def __init__(self, golden: Golden):
        self.size, self.table = golden.config["cut_size"], golden.inputs["E"]

    def encode_image(self, picture: Tensor, sigma: Tensor | None = None) -> Tensor:
        return F.adaptive_avg_pool2d(picture, 4).flatten(1) @ self.table.T


def test_the_peer_is_faithful(benchmark: ModuleType) -> None:
    golden = Golden(ROOT / "tests" / "golden" / "clip_diffusion_art_guidance.safetensors")
    c = golden.config
    named = ("cutn", "cutn_batches", "clip_guidance_scale", "tv_scale", "range_scale", "saturation_scale", "clamp_max")
    flags = benchmark.Flags(scale_multiplier=1, skip_augs=True, **{name: c[name] for name in named})
    torch.manual_seed(c["guidance_seed"])
    grad = benchmark.original_gradient(
        lambda x: torch.einsum("oc,bchw->bohw", golden.inputs["W"], torch.tanh(x)),
        ToyClip(golden),
        golden.inputs["targets"],
        torch.tensor(c["weights"]),
        golden.inputs["x"],
        c["alpha_bar"],
        flags,
    )
    assert_same(grad, golden.outputs["grad_unclamped"], what="gradient")
    assert_same(benchmark.clamp_batch(grad, c["clamp_max"]), golden.outputs["grad_clamped"], what="clamped gradient")


def test_both_sides_paint(benchmark: ModuleType) -> None:
    networks = benchmark.random_networks()
    flags = benchmark.Flags(steps=2, skip_timesteps=0, cutn=4, cutn_batches=1)
    done = benchmark.compare(networks, [("a red apple", 0)], flags, benchmark.Plan(steps=3, cutn=4))
    for name in ("original", "lienzo"):
        (painted,) = done[name]
        assert painted.picture.shape == (3, 64, 64)
        assert painted.picture.isfinite().all()
        assert painted.picture.abs().max() <= 1
        assert painted.seconds > 0
