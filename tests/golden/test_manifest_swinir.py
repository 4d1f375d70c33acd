"""The public SwinIR files' key names and shapes, from the config and back from the shapes alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lienzo.upscaling.configurations import configuration, task_of
from lienzo.upscaling.swinir import SwinIR, detect, load


def shape_and_type(entry: list[Any]) -> tuple[list[int], torch.dtype]:
    if len(entry) == 2 and isinstance(entry[0], list):
        return entry[0], getattr(torch, entry[1])
    return entry, torch.float32


@pytest.mark.golden("manifest_swinir_*.json")
def test_keys_and_shapes(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    expected = {key: shape_and_type(entry) for key, entry in manifest["keys"].items()}
    with torch.device("meta"):
        model = SwinIR(**manifest["config"])
        empty = {key: torch.empty(shape, dtype=dtype) for key, (shape, dtype) in expected.items()}
    found = {key: (list(value.shape), value.dtype) for key, value in model.state_dict().items()}
    assert found == expected

    assert detect(empty)
    loaded = load({"params_ema": empty})
    assert {key: (list(value.shape), value.dtype) for key, value in loaded.state_dict().items()} == expected
    for name, value in manifest["config"].items():
        assert loaded.config[name] == value, name


@pytest.mark.golden("manifest_swinir_*.json")
def test_named_configuration(golden_path: Path) -> None:
    """The table of public networks holds this one."""
    config = json.loads(golden_path.read_text())["config"]
    sizes = {60: "S", 180: "M", 240: "L"}
    named = configuration(
        task_of(config), scale=config["upscale"], size=sizes[config["embed_dim"]], img_size=config["img_size"]
    )
    assert named == config
