"""Names and shapes of the public autoencoder files, from their settings and from the shapes alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lienzo.autoencoders import dvae, gumbel, kl, patch_discriminator, vqgan
from lienzo.weights.detection import FORMATS, identify
from lienzo.weights.models import NETWORKS


def empty(keys: dict[str, list[Any]]) -> dict[str, torch.Tensor]:
    """Tensors without numbers. An entry of a manifest is a shape, or a pair of a shape and a dtype."""
    shapes = {key: entry[0] if entry and isinstance(entry[0], list) else entry for key, entry in keys.items()}
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def module_of(golden_path: Path, config: dict[str, Any]) -> ModuleType:
    if golden_path.name.startswith("manifest_openai_dvae"):
        return dvae
    if golden_path.name.startswith("manifest_sd"):
        return kl
    return gumbel if "kl_weight" in config else vqgan


@pytest.mark.golden("manifest_vqgan_*.json", "manifest_sd_v1_vae*.json", "manifest_openai_dvae_*.json")
def test_manifest(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    module = module_of(golden_path, manifest["config"])
    state = empty(manifest["keys"])
    name, found = identify(state)
    assert (found, FORMATS[name], NETWORKS[name]) == (module, module.__name__, module.__name__)

    own = {key.removeprefix("first_stage_model."): value for key, value in state.items() if not key.startswith("loss.")}
    network = module.load(state)
    assert {key: value.shape for key, value in network.state_dict().items()} == {k: v.shape for k, v in own.items()}
    assert len(state) == manifest["n_keys"]
    if any(key.startswith("loss.discriminator.") for key in state):
        critic = patch_discriminator.load(state)
        assert {f"loss.discriminator.{key}" for key in critic.state_dict()} <= state.keys()

    read = network.config
    for name, value in manifest["config"].items():
        if name == "ddconfig":
            assert {key: read[name][key] for key in value} == value
        else:
            assert read[name] == value, name
