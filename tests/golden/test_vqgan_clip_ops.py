"""Resampling, straight-through operations and the prompt loss equal VQGAN-CLIP's generate.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.guidance.distances import prompt_distance, spherical
from lienzo.guidance.ops import clamp_with_grad, resample, vector_quantize

pytestmark = pytest.mark.golden("vqgan_clip_ops*.safetensors")


def test_resample(golden_path: Path) -> None:
    golden = Golden(golden_path)
    for name in ("resample_down", "resample_up"):
        expected = golden.outputs[name]
        assert_same(resample(golden.inputs["x"], tuple(expected.shape[2:])), expected, what=name)
    assert list(golden.outputs["resample_down"].shape[2:]) == golden.config["resample_to"]


def test_clamp_with_grad(golden_path: Path) -> None:
    golden = Golden(golden_path)
    a = golden.inputs["a"].clone().requires_grad_()
    clamped = clamp_with_grad(a, 0, 1)
    assert_same(clamped, golden.outputs["clamp"])
    (grad,) = torch.autograd.grad(clamped, a, golden.inputs["clamp_out_grad"])
    assert_same(grad, golden.outputs["clamp_grad"])


def test_vector_quantize(golden_path: Path) -> None:
    golden = Golden(golden_path)
    z = golden.inputs["z"].clone().requires_grad_()
    quantized = vector_quantize(z, golden.inputs["codebook"])
    assert_same(quantized, golden.outputs["vq"])
    (grad,) = torch.autograd.grad(quantized, z, golden.inputs["vq_out_grad"])
    assert_same(grad, golden.outputs["vq_grad_z"])


def test_prompt_loss(golden_path: Path) -> None:
    golden = Golden(golden_path)
    for name, (weight, stop) in golden.config["prompts"].items():
        images = golden.inputs["image_embeds"].clone().requires_grad_()
        distance = spherical(images[:, None], golden.inputs["text_embeds"][None])
        loss = prompt_distance(distance, torch.tensor(weight), torch.tensor(float(stop))).mean()
        assert_same(loss, golden.outputs[f"prompt_{name}"], what=name)
        (grad,) = torch.autograd.grad(loss, images)
        assert_same(grad, golden.outputs[f"prompt_grad_{name}"], what=f"{name} gradient")
