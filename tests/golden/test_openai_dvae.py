"""OpenAI's discrete VAE equals the original."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.autoencoders import dvae
from lienzo.autoencoders.first_stage import DiscreteStage

pytestmark = pytest.mark.golden("openai_dvae*.safetensors")


@torch.no_grad()
def test_dvae(golden_path: Path) -> None:
    golden = Golden(golden_path)
    halves = {name: golden.config[name] for name in ("encoder", "decoder")}
    assert dvae.detect(golden.state)
    model = dvae.load(golden.state, halves)
    assert dvae.load(golden.state).config == model.config
    expected = golden.outputs
    mapped = dvae.map_pixels(golden.inputs["x"])
    assert_same(mapped, expected["mapped"], what="mapped")
    logits = model.encoder(mapped)
    assert_same(logits, expected["z_logits"], what="z_logits")
    codes = logits.argmax(dim=1)
    assert_same(codes, expected["z"], what="z")
    one_hot = torch.nn.functional.one_hot(codes, logits.shape[1]).movedim(-1, 1).float()
    statistics = model.decoder(one_hot)
    assert_same(statistics, expected["x_stats"], what="x_stats")
    location = statistics.chunk(2, dim=1)[0]
    assert_same(dvae.unmap_pixels(location.sigmoid()), expected["x_rec"], what="x_rec")


@torch.no_grad()
def test_as_a_discrete_stage(golden_path: Path) -> None:
    golden = Golden(golden_path)
    model = dvae.load(golden.state)
    assert isinstance(model, DiscreteStage)
    images = 2 * golden.inputs["x"] - 1
    assert_same(model.codes(images), golden.outputs["z"], what="codes")
    decoded = (model.decode(model.encode(images)) + 1) / 2
    assert_same(decoded.clamp(0, 1), golden.outputs["x_rec"], what="decode")


@torch.no_grad()
def test_halves_apart(golden_path: Path) -> None:
    """The public files hold one half each, without a prefix."""
    golden = Golden(golden_path)
    halves = [
        dvae.load({k.removeprefix(start): v for k, v in golden.state.items() if k.startswith(start)})
        for start in ("encoder.", "decoder.")
    ]
    images = 2 * golden.inputs["x"] - 1
    assert_same(dvae.joined(*halves).codes(images), golden.outputs["z"], what="codes")
