"""The full-size public SwinIR architectures with weights derived from their key names."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same, named_weights

from lienzo.upscaling.swinir import SwinIR


@pytest.mark.golden("full_swinir_*.safetensors")
def test_full_swinir(golden_path: Path) -> None:
    golden = Golden(golden_path)
    known = inspect.signature(SwinIR).parameters
    model = SwinIR(**{k: v for k, v in golden.config.items() if k in known}).eval()
    with torch.no_grad():
        named_weights(model, golden.config["salt"], golden.config.get("key_prefix", ""))
        assert_same(model(golden.inputs["x"]), golden.outputs["y"], 1e-4)
