"""The Gumbel VQGAN equals taming-transformers, on the path without noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.autoencoders import gumbel, vqgan
from lienzo.autoencoders.first_stage import DiscreteStage

pytestmark = pytest.mark.golden("vqgan_gumbel*.safetensors")


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `GumbelVQ` that the file gives."""
    names = ("ddconfig", "n_embed", "embed_dim", "kl_weight", "straight_through", "temp_init", "remap", "unknown_index")
    return {name: config[name] for name in names if name in config}


@torch.no_grad()
def test_gumbel_vqgan(golden_path: Path) -> None:
    golden = Golden(golden_path)
    assert gumbel.detect(golden.state)
    assert not vqgan.detect(golden.state)
    model = gumbel.load(golden.state, settings(golden.config))
    x, expected = golden.inputs["x"], golden.outputs
    prequant = model.quant_conv(model.encoder(x))
    assert_same(prequant, expected["prequant"], what="prequant")
    assert_same(model.quantize.proj(prequant), expected["logits"], what="logits")
    quant, loss, indices = model.quantize(prequant)
    assert_same(quant, expected["quant_hard"], what="quant_hard")
    assert_same(indices, expected["indices"], what="indices")
    rebuilt, loss, _ = model(x)
    assert_same(rebuilt, expected["dec"], what="dec")
    share = expected["logits"].double().softmax(dim=1)
    divergence = (share * (share * golden.config["n_embed"] + 1e-10).log()).sum(dim=1).mean()
    assert_same(loss, (golden.config["kl_weight"] * divergence).float(), 1e-4, "loss")


@torch.no_grad()
def test_as_a_discrete_stage(golden_path: Path) -> None:
    golden = Golden(golden_path)
    model = gumbel.load(golden.state, settings(golden.config))
    assert isinstance(model, DiscreteStage)
    latents = model.encode(golden.inputs["x"])
    assert_same(latents, golden.outputs["quant_hard"], what="encode")
    assert_same(model.codes(golden.inputs["x"]), golden.outputs["indices"], what="codes")
    assert_same(model.decode(latents), golden.outputs["dec"], what="decode")
