"""Full-size public ADM architectures; their weights are derived from the names of the tensors."""

import gc
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same, named_weights

from lienzo.diffusion.adm_flags import from_flags

NOT_FLAGS = ("weight_recipe", "salt", "key_prefix")


@pytest.mark.large
@pytest.mark.golden("full_guided_*.safetensors")
@torch.no_grad()
def test_full_guided(golden_path: Path) -> None:
    golden = Golden(golden_path)
    config, inputs = golden.config, golden.inputs
    with torch.device("meta"):
        network = from_flags({name: v for name, v in config.items() if name not in NOT_FLAGS}).build()
    network = network.to_empty(device="cpu").eval()
    named_weights(network, config["salt"], config["key_prefix"])
    extra = {name: inputs[name] for name in ("y", "low_res") if name in inputs}
    y = network(inputs["x"], inputs["timesteps"], **extra)
    del network
    gc.collect()
    assert_same(y, golden.outputs["y" if "y" in golden.outputs else "logits"], 1e-4, "y")
