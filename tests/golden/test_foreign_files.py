"""Checkpoints as their own programs wrote them: read without running them, equal to torch's reader or their twin."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from lienzo.weights.reading import read_weights


@pytest.mark.golden("ckpt_*.pt", "*_ckpt_*.tar")
def test_checkpoints_equal_torchs_reader(golden_path: Path) -> None:
    with torch.serialization.safe_globals([argparse.Namespace]):
        expected = torch.load(golden_path, weights_only=True)
    parts = {name: part for name, part in expected.items() if isinstance(part, dict) and part}
    parts = {name: part for name, part in parts.items() if all(isinstance(v, torch.Tensor) for v in part.values())}
    assert read_weights(golden_path).inner in parts
    for name, part in parts.items():
        found = read_weights(golden_path, inner=name).tensors
        assert list(found) == list(part)
        assert all(torch.equal(found[key], part[key]) for key in part)
    settings = {name: vars(v) for name, v in expected.items() if isinstance(v, argparse.Namespace)}
    assert {name: read_weights(golden_path).extras[name] for name in settings} == settings


@pytest.mark.golden("stylegan*_tiny.pkl")
def test_nvidia_pickles_equal_their_safetensors(golden_path: Path) -> None:
    twin = golden_path.with_name(golden_path.name.replace("_tiny.pkl", ".safetensors"))
    weights = read_weights(golden_path)
    assert (weights.format, weights.inner) == ("pickle", "G_ema")
    expected = read_weights(twin, inner="G_ema").tensors
    assert set(weights.tensors) >= set(expected)
    assert all(torch.equal(weights.tensors[name], expected[name]) for name in expected)
