"""The secondary model of disco-diffusion at its public size, and the names and shapes of its file."""

import json
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same, named_weights

from lienzo.diffusion.secondary import SecondaryModel, detect, load


@pytest.mark.golden("full_disco_secondary_*.safetensors")
@torch.no_grad()
def test_full_disco_secondary(golden_path: Path) -> None:
    golden = Golden(golden_path)
    with torch.device("meta"):
        model = SecondaryModel()
    model = model.to_empty(device="cpu").eval()
    named_weights(model, golden.config["salt"], golden.config["key_prefix"])
    prediction = model(golden.inputs["x"], golden.inputs["t"])
    for name, expected in golden.outputs.items():
        assert_same(getattr(prediction, name), expected, 1e-4, name)


@pytest.mark.golden("manifest_disco_secondary_*.json")
def test_manifest(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    shapes = {key: torch.empty(shape, device="meta") for key, shape in manifest["keys"].items()}
    assert detect(shapes)
    found = {key: list(value.shape) for key, value in load(shapes).state_dict().items()}
    assert found == manifest["keys"]
    assert len(found) == manifest["n_keys"]
