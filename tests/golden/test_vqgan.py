"""VQGAN equals taming-transformers: every option of the constructor comes from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.autoencoders import vqgan
from lienzo.autoencoders.first_stage import DiscreteStage

pytestmark = pytest.mark.golden("vqgan_f*.safetensors")


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `VQModel` in the words of the golden files."""
    names = ("ddconfig", "n_embed", "embed_dim", "beta", "remap", "unknown_index", "sane_index_shape")
    legacy = config.get("legacy_loss", config.get("legacy", True))
    return {name: config[name] for name in names if name in config} | {"legacy": legacy}


@torch.no_grad()
def test_vqgan(golden_path: Path) -> None:
    golden = Golden(golden_path)
    assert vqgan.detect(golden.state)
    model = vqgan.load(golden.state, settings(golden.config))
    x, expected = golden.inputs["x"], golden.outputs
    prequant = model.encode(x)
    assert_same(prequant, expected["prequant"], what="prequant")
    quant, loss, indices = model.quantize(prequant)
    assert_same(quant, expected["quant"], what="quant")
    assert_same(loss, expected["emb_loss"], what="emb_loss")
    assert_same(indices, expected["indices"], what="indices")
    rebuilt, loss, indices = model(x)
    assert_same(rebuilt, expected["dec"], what="dec")
    assert_same(model.decode(prequant), expected["dec"], what="decode")
    b, d, h, w = quant.shape
    looked_up = model.quantize.look_up(expected["indices"], (b, h, w, d))
    assert_same(model.decode_unquantised(looked_up), expected["dec_from_codes"], what="dec_from_codes")


@torch.no_grad()
def test_as_a_discrete_stage(golden_path: Path) -> None:
    golden = Golden(golden_path)
    model = vqgan.load(golden.state, settings(golden.config))
    assert isinstance(model, DiscreteStage)
    assert model.factor == golden.inputs["x"].shape[-1] // golden.outputs["prequant"].shape[-1]
    codes = model.codes(golden.inputs["x"])
    assert_same(model.from_codes(codes), golden.outputs["quant"], what="from_codes")
    assert_same(model.decode(model.from_codes(codes)), golden.outputs["dec_from_codes"], what="decode")


def test_its_structure_is_read_off_the_shapes(golden_path: Path) -> None:
    golden = Golden(golden_path)
    read, ddconfig = vqgan.load(golden.state).config, golden.config["ddconfig"]
    for name in ("ch", "out_ch", "num_res_blocks", "in_channels", "z_channels", "double_z"):
        assert read["ddconfig"][name] == ddconfig[name], name
    assert read["ddconfig"]["ch_mult"] == list(ddconfig["ch_mult"])
    assert (read["n_embed"], read["embed_dim"]) == (golden.config["n_embed"], golden.config["embed_dim"])
