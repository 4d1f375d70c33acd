"""The U-Net of latent diffusion gives what the original program computed."""

import gc
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same, named_weights
from torch import Tensor

from lienzo.diffusion.ldm_shapes import PREFIX
from lienzo.diffusion.ldm_unet import LdmUnet, detect, load


def arguments(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name in inspect.signature(LdmUnet).parameters}


def tolerance(network: LdmUnet, inputs: dict[str, Tensor]) -> float:
    """2e-5, or what the order of float32 sums changes by itself: activations as small as the eps of a group norm make
    that more (two layouts in memory are two orders)."""
    last = network.to(memory_format=torch.channels_last)(**inputs)
    first = network.to(memory_format=torch.contiguous_format)(**inputs)
    return max(2e-5, float((last - first).abs().max() / first.abs().max()))


@pytest.mark.golden("sd_unet_*.safetensors", "ldm_unet_*.safetensors")
@torch.no_grad()
def test_ldm_unet(golden_path: Path) -> None:
    golden = Golden(golden_path)
    state = {key.removeprefix(PREFIX): value for key, value in golden.state.items()}
    network = LdmUnet(**arguments(golden.config)).eval()
    assert {key: value.shape for key, value in network.state_dict().items()} == {k: v.shape for k, v in state.items()}
    network.load_state_dict(state)
    close = tolerance(network, golden.inputs)
    assert close < 2e-4
    assert_same(network(**golden.inputs), golden.outputs["y"], close, what="y")
    whole = {PREFIX + key: value for key, value in state.items()}
    assert detect(whole)
    # what shapes tell is read off them; the file says the rest
    untold = ("image_size", "use_checkpoint", "num_heads", "num_head_channels", "num_heads_upsample", "legacy",
              "use_new_attention_order", "dropout")  # fmt: skip
    again = load(whole, {name: golden.config[name] for name in untold if name in golden.config})
    assert_same(again(**golden.inputs), golden.outputs["y"], close, what="y of the loaded network")


@pytest.mark.large
@pytest.mark.golden("full_sd_v1_unet*.safetensors")
@torch.no_grad()
def test_full_size(golden_path: Path) -> None:
    golden = Golden(golden_path)
    with torch.device("meta"):
        network = LdmUnet(**arguments(golden.config))
    network = network.to_empty(device="cpu").eval()
    named_weights(network, golden.config["salt"], golden.config["key_prefix"])
    y = network(**golden.inputs)
    del network
    gc.collect()
    assert_same(y, golden.outputs["y"], 1e-4, "y")


@pytest.mark.golden("manifest_sd_*unet*.json", "manifest_ldm_*unet*.json")
def test_manifest(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    expected = {
        key.removeprefix(PREFIX): entry[0] if entry and isinstance(entry[0], list) else entry
        for key, entry in manifest["keys"].items()
    }
    assert len(expected) == manifest["n_keys"]
    with torch.device("meta"):
        network = LdmUnet(**arguments(manifest["config"]))
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == expected
    state = {PREFIX + key: torch.empty(shape, device="meta") for key, shape in expected.items()}
    assert detect(state)
    loaded = load(state)
    wanted = {name: value for name, value in arguments(manifest["config"]).items() if name != "use_checkpoint"}
    assert {name: loaded.config[name] for name in wanted} == wanted
    assert sum(value.numel() for value in loaded.state_dict().values()) == manifest["n_float_elements"]
