"""LPIPS with the weights that the file derives from each tensor's name."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.metrics.lpips import detect, load

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def weights(golden: Golden, net: str) -> dict[str, Tensor]:
    """The whole state dict of the original class, by the file's rule; `linN` and `lins.N` are one tensor there."""
    salt, state = f"lpips_{net}_{golden.config['set']}", {}
    for key, (_, shape) in golden.config["state_dict"][net].items():
        a = np.random.RandomState(zlib.crc32(f"{salt}:{key}".encode()) & 0xFFFFFFFF).randn(*shape)
        a = a * 1.4 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.05 * a
        state[key] = torch.as_tensor(np.abs(a) if key.startswith("lin") else a, dtype=torch.float32)
    for key in state:
        if key.startswith("lins."):
            state["lin" + key.removeprefix("lins.")] = state[key]
    state["scaling_layer.shift"] = torch.tensor(SHIFT).view(1, 3, 1, 1)
    state["scaling_layer.scale"] = torch.tensor(SCALE).view(1, 3, 1, 1)
    return state


@pytest.mark.golden("lpips*.safetensors")
@torch.no_grad()
def test_lpips(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, y = golden.tensors["in0"], golden.tensors["in1"]
    assert golden.config["state_dict"]
    for net in golden.config["state_dict"]:
        state = weights(golden, net)
        assert detect(state)
        model = load(state)
        assert model.config["net"] == net
        parts = model.layers(x, y)
        wanted = [golden.tensors[key] for key in sorted(golden.tensors) if key.startswith(f"{net}.layer")]
        assert len(parts) == len(wanted)
        for number, (part, value) in enumerate(zip(parts, wanted)):
            assert_same(part, value, 1e-4, f"{net}.layer{number}")
        assert_same(model(x, y), golden.tensors[f"{net}.value"], 1e-4, net)
        if net in golden.config.get("expected", {}):
            assert model(x, y).flatten().tolist() == pytest.approx(golden.config["expected"][net], rel=1e-4)
