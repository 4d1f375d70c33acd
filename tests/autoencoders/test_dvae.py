"""OpenAI's discrete VAE beyond its golden file: likelihood, training, halves, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from lienzo.autoencoders.dvae import (
    DVae,
    DVaeDecoder,
    DVaeEncoder,
    detect,
    joined,
    load,
    logit_laplace_nll,
    map_pixels,
    unmap_pixels,
)
from lienzo.autoencoders.first_stage import DiscreteStage
from lienzo.core.errors import BadInput, BadWeights

ENCODER: dict[str, Any] = {"n_hid": 4, "n_blk_per_group": 1, "vocab_size": 9}
DECODER: dict[str, Any] = {"n_init": 6, "n_hid": 8, "n_blk_per_group": 3, "vocab_size": 9}


def model(**options: Any) -> DVae:
    torch.manual_seed(0)
    return DVae(encoder=ENCODER, decoder=DECODER, **options).eval()


def test_pixels_there_and_back() -> None:
    x = torch.linspace(0, 1, 11)
    torch.testing.assert_close(unmap_pixels(map_pixels(x)), x)
    assert unmap_pixels(torch.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_the_likelihood_is_one() -> None:
    """The density of the logit-Laplace distribution adds up to 1 over (0, 1)."""
    x = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    statistics = torch.tensor([0.7, -0.5], dtype=torch.float64).reshape(1, 2, 1, 1).expand(1, 2, 1, len(x))
    density = (-logit_laplace_nll(x.reshape(1, 1, 1, -1), statistics)).exp()
    assert density.mean().item() == pytest.approx(1, abs=1e-4)


@torch.no_grad()
def test_as_a_first_stage() -> None:
    own = model(scale_factor=2.0)
    assert isinstance(own, DiscreteStage)
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    latents = own.encode(x)
    assert latents.shape == (2, own.channels, 2, 3)
    torch.testing.assert_close(latents, own.codebook[own.codes(x)].movedim(-1, 1))
    one_hot = torch.nn.functional.one_hot(own.codes(x), 9).movedim(-1, 1).float()
    wanted = own.decoder(one_hot)[:, :3].sigmoid()
    torch.testing.assert_close(map_pixels((own.decode(latents) + 1) / 2), wanted)


def test_gradients() -> None:
    own = model()
    latents = torch.randn(1, own.channels, 2, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(own.decode(latents).sum(), latents)
    assert grad.abs().max() > 0
    _, statistics = own(torch.zeros(1, 3, 8, 8))
    logit_laplace_nll(map_pixels(torch.full((1, 3, 8, 8), 0.5)), statistics).mean().backward()
    assert all(parameter.grad is not None for parameter in own.parameters())


def test_saving_and_loading() -> None:
    own = model(scale_factor=0.5)
    x = torch.rand(1, 3, 8, 8)
    again = load(own.state_dict(), json.loads(json.dumps(own.config)))
    assert again.config == own.config
    assert torch.equal(again.decode(again.encode(x)), own.decode(own.encode(x)))
    for half, kind in ((own.encoder, DVaeEncoder), (own.decoder, DVaeDecoder)):
        assert detect(half.state_dict())
        loaded = load(half.state_dict(), half.config)
        assert type(loaded) is kind
        assert loaded.config == load(half.state_dict()).config == half.config
    assert torch.equal(joined(own.encoder, own.decoder).codes(x), own.codes(x))


def test_refusals() -> None:
    with pytest.raises(BadInput, match="multiple of 4"):
        DVaeEncoder(n_hid=6)
    with pytest.raises(BadInput, match="same vocab_size"):
        DVae(encoder=ENCODER, decoder={**DECODER, "vocab_size": 8})
    with pytest.raises(BadInput, match="at least 8"):
        model().encode(torch.zeros(1, 3, 4, 8))
    state = model().state_dict()
    del state["decoder.blocks.group_2.block_1.id_path.b"]
    with pytest.raises(BadWeights, match=r"id_path\.b' is missing"):
        load(state)
    assert not detect({"blocks.input.w": torch.ones(1)})
