"""Full-size public autoencoders; their weights are derived from the names of the tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same, named_weights

from lienzo.autoencoders.gumbel import GumbelVQ
from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.vqgan import VQModel


@pytest.mark.large
@pytest.mark.golden("full_vqgan_*.safetensors")
@torch.no_grad()
def test_full_vqgan(golden_path: Path) -> None:
    golden = Golden(golden_path)
    config, expected = golden.config, golden.outputs
    network = GumbelVQ if "kl_weight" in config else VQModel
    with torch.device("meta"):
        model = network(config["ddconfig"], config["n_embed"], config["embed_dim"])
    model = model.to_empty(device="cpu").eval()
    named_weights(model, config["salt"], config["key_prefix"])
    prequant = model.quant_conv(model.encoder(golden.inputs["x"]))
    assert_same(prequant, expected["prequant"], 1e-4, "prequant")
    quant, loss, indices = model.quantize(prequant)
    assert_same(indices, expected["indices"], what="indices")
    if "emb_loss" in expected:
        assert_same(loss, expected["emb_loss"], 1e-4, "emb_loss")
    assert_same(model.decoder(model.post_quant_conv(quant)), expected["dec"], 1e-4, "dec")


@pytest.mark.large
@pytest.mark.golden("full_sd_v1_vae*.safetensors")
@torch.no_grad()
def test_full_sd_vae(golden_path: Path) -> None:
    golden = Golden(golden_path)
    config = golden.config
    with torch.device("meta"):
        model = AutoencoderKL(config["ddconfig"], config["embed_dim"])
    model = model.to_empty(device="cpu").eval()
    named_weights(model, config["salt"], config["key_prefix"])
    decoded, posterior = model(golden.inputs["x"])
    assert_same(posterior.mean, golden.outputs["mean"], 1e-4, "mean")
    assert_same(posterior.logvar, golden.outputs["logvar"], 1e-4, "logvar")
    assert_same(decoded, golden.outputs["dec"], 1e-4, "dec")
