"""Keys and shapes of the public CLIP checkpoints, read without memory on the meta device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.clip.model import CLIP, NOT_WEIGHTS, detect, load, load_text


def public_state(manifest: dict[str, Any]) -> dict[str, Tensor]:
    """Tensors of the manifest's keys, shapes and types, without memory."""
    state = {}
    for key, entry in manifest["keys"].items():
        shape, dtype = entry if len(entry) == 2 and isinstance(entry[0], list) else (entry, "float32")
        state[key] = torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
    return state


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[list[int], torch.dtype]]:
    return {key: (list(value.shape), value.dtype) for key, value in state.items() if key not in NOT_WEIGHTS}


@pytest.mark.golden("manifest_clip_*.json")
def test_manifest(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    public = public_state(manifest)
    assert len(public) == manifest["n_keys"]
    with torch.device("meta"):
        model = CLIP(**manifest["config"])
    assert shapes(model.state_dict()) == shapes(public)
    assert detect(public)
    half = {key: value.half() if value.is_floating_point() else value for key, value in public.items()}
    read = load(half)
    assert shapes(read.state_dict()) == shapes(public)
    assert {key: read.config[key] for key in manifest["config"]} == manifest["config"]


@pytest.mark.golden("manifest_sd_v1_text*.json")
def test_stable_diffusion_text_manifest(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    config = load_text(public_state(manifest)).config
    expected = {"width": manifest["config"]["hidden"], "embed_dim": None, "quick_gelu": True}
    expected |= {"layers": manifest["config"]["layers"], "heads": manifest["config"]["heads"]}
    expected |= {"context_length": manifest["config"]["max_length"]}
    assert {key: config[key] for key in expected} == expected
