"""ADM U-Nets and upsamplers against guided-diffusion: every option of the constructor comes from the file."""

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.diffusion.adm_checkpoints import config_from, detect, load
from lienzo.nn.embeddings import timestep_embedding

CLASSES = {"UNetModel": Adm, "SuperResModel": AdmSuperRes}


@pytest.mark.golden("guided_unet_*.safetensors")
@torch.no_grad()
def test_guided_unet(golden_path: Path) -> None:
    golden = Golden(golden_path)
    config = {name: value for name, value in golden.config.items() if name != "cls"}
    inputs = golden.inputs
    assert detect(golden.state)
    network = load(golden.state, config)
    assert type(network) is CLASSES[golden.config["cls"]]
    extra = {"low_res": inputs["low_res"]} if "low_res" in inputs else {}
    y = network(inputs["x"], inputs["timesteps"], inputs.get("y"), **extra)
    assert_same(y, golden.outputs["y"], 2e-5, "y")
    if "timestep_embedding" in golden.outputs:
        embedding = golden.outputs["timestep_embedding"]
        assert_same(timestep_embedding(inputs["timesteps"], embedding.shape[1]), embedding, 2e-5, "embedding")


@pytest.mark.golden("guided_unet_*.safetensors")
def test_its_structure_is_read_off_the_shapes(golden_path: Path) -> None:
    golden = Golden(golden_path)
    read, config = config_from(golden.state), golden.config
    names = ("in_channels", "out_channels", "model_channels", "num_res_blocks", "num_classes")
    assert {name: read[name] for name in names} == {name: config.get(name) for name in names}
    assert read["channel_mult"] == list(config.get("channel_mult", (1, 2, 4, 8)))
    factors = {2**level for level in range(len(read["channel_mult"]))}
    assert set(read["attention_resolutions"]) == factors & set(config["attention_resolutions"])
    assert read["use_scale_shift_norm"] == config.get("use_scale_shift_norm", False)
    if len(factors) > 1:
        assert read["resblock_updown"] == config.get("resblock_updown", False)
