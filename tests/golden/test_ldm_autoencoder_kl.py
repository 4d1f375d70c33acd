"""The KL autoencoder of latent diffusion equals the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.autoencoders import kl
from lienzo.autoencoders.first_stage import FirstStage

pytestmark = pytest.mark.golden("ldm_autoencoder_kl*.safetensors")


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `AutoencoderKL` that the file gives."""
    return {name: config[name] for name in ("ddconfig", "embed_dim", "colorize_nlabels") if name in config}


@torch.no_grad()
def test_autoencoder_kl(golden_path: Path) -> None:
    golden = Golden(golden_path)
    assert kl.detect(golden.state)
    model = kl.load(golden.state, settings(golden.config))
    inputs, expected = golden.inputs, golden.outputs
    posterior = model.posterior(inputs["x"])
    assert_same(posterior.mean, expected["mean"], what="mean")
    assert_same(posterior.logvar, expected["logvar"], what="logvar")
    found = {}
    if "eps" in inputs:
        found["z"] = posterior.sample(inputs["eps"])
        found |= {"std": posterior.std, "kl": posterior.kl(), "nll": posterior.nll(found["z"])}
        found["dec"] = model(inputs["x"], inputs["eps"])[0]
    if "z" in inputs:
        found["dec_z"] = model.decode(inputs["z"])
    found["dec_mode"] = model(inputs["x"])[0]
    for name in expected.keys() & found.keys():
        assert_same(found[name], expected[name], what=name)
    assert expected.keys() <= found.keys() | {"mean", "logvar"}


@torch.no_grad()
def test_as_a_first_stage(golden_path: Path) -> None:
    golden = Golden(golden_path)
    model = kl.load(golden.state, settings(golden.config))
    assert isinstance(model, FirstStage)
    model.rescale(0.5, 0.25)
    latents = model.encode(golden.inputs["x"])
    assert_same(latents / 0.5 + 0.25, golden.outputs["mean"], what="encode")
    if "dec_mode" in golden.outputs:
        assert_same(model.decode(latents), golden.outputs["dec_mode"], what="decode")


def test_its_structure_is_read_off_the_shapes(golden_path: Path) -> None:
    golden = Golden(golden_path)
    read, ddconfig = kl.load(golden.state).config, golden.config["ddconfig"]
    for name in ("ch", "out_ch", "num_res_blocks", "in_channels", "z_channels", "double_z"):
        assert read["ddconfig"][name] == ddconfig[name], name
    assert read["embed_dim"] == golden.config["embed_dim"]
