"""Names and shapes of the public ADM files, from their flags and from the shapes alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lienzo.diffusion.adm_checkpoints import detect, load, recognise
from lienzo.diffusion.adm_flags import from_flags


def shape_of(entry: list[Any]) -> list[int]:
    """An entry of a manifest is a shape, or a pair of a shape and a dtype."""
    return entry[0] if entry and isinstance(entry[0], list) else entry


@pytest.mark.golden("manifest_guided_*.json")
def test_manifest_guided(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    expected = {key: shape_of(entry) for key, entry in manifest["keys"].items()}
    assert len(expected) == manifest["n_keys"]

    described = from_flags(manifest["config"])
    with torch.device("meta"):
        network = described.build()
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == expected

    state = {key: torch.empty(shape, device="meta") for key, shape in expected.items()}
    assert detect(state)
    found = recognise(state)
    assert found.described.network is described.network
    wanted = {name: sorted(v) if name == "attention_resolutions" else v for name, v in described.config.items()}
    assert {name: found.described.config[name] for name in wanted} == wanted
    loaded = load(state)
    assert {key: list(value.shape) for key, value in loaded.state_dict().items()} == expected
    assert sum(value.numel() for value in loaded.state_dict().values()) == manifest["n_float_elements"]
