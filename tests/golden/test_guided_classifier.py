"""Classifiers of noisy pictures, with any pool, and their gradients against guided-diffusion."""

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.diffusion.adm_checkpoints import detect, load
from lienzo.diffusion.adm_classifier import AdmClassifier, class_gradient


@pytest.mark.golden("guided_classifier_*.safetensors")
def test_guided_classifier(golden_path: Path) -> None:
    golden = Golden(golden_path)
    config = {name: value for name, value in golden.config.items() if name != "cls"}
    inputs, outputs = golden.inputs, golden.outputs
    assert detect(golden.state)
    network = load(golden.state, config)
    assert isinstance(network, AdmClassifier)
    with torch.no_grad():
        assert_same(network(inputs["x"], inputs["timesteps"]), outputs["logits"], 2e-5, "logits")
    if "classifier_grad" in outputs:
        gradient = class_gradient(network, inputs["x"], inputs["timesteps"], inputs["y"])
        assert_same(gradient, outputs["classifier_grad"], 2e-5, "classifier_grad")
