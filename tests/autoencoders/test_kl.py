"""The KL autoencoder beyond its golden files: distributions, units of public checkpoints, loading."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from lienzo.autoencoders.kl import AutoencoderKL, DiagonalGaussian, detect, load
from lienzo.core.errors import BadInput, BadWeights

SMALL: dict[str, Any] = {
    "ch": 32, "out_ch": 3, "num_res_blocks": 1, "attn_resolutions": [], "in_channels": 3, "resolution": 16,
    "z_channels": 4, "ch_mult": [1, 1],
}  # fmt: skip
PUBLIC: dict[str, Any] = {**SMALL, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "resolution": 256}


def empty_state(ddconfig: dict[str, Any], embed_dim: int | None) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return AutoencoderKL(ddconfig, embed_dim).state_dict()


def test_distribution_against_torch() -> None:
    torch.manual_seed(0)
    one, other = (DiagonalGaussian.of(torch.randn(2, 6, 4, 5)) for _ in range(2))
    theirs = [torch.distributions.Normal(g.mean, g.std) for g in (one, other)]
    unit = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(one.kl(), kl(theirs[0], unit).sum(dim=(1, 2, 3)))
    torch.testing.assert_close(one.kl(other), kl(*theirs).sum(dim=(1, 2, 3)))
    sample = one.sample(torch.randn(2, 3, 4, 5))
    torch.testing.assert_close(one.nll(sample), -theirs[0].log_prob(sample).sum(dim=(1, 2, 3)))
    assert DiagonalGaussian.of(torch.full((1, 2, 1, 1), 99.0)).logvar.item() == 20


@torch.no_grad()
def test_samples_and_means() -> None:
    torch.manual_seed(0)
    model, x = AutoencoderKL(SMALL, 5, scale_factor=0.5, shift_factor=0.1).eval(), torch.randn(2, 3, 8, 8)
    posterior = model.posterior(x)
    torch.testing.assert_close(model.encode(x), (posterior.mean - 0.1) * 0.5)
    sampled = model.encode(x, torch.Generator().manual_seed(3))
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(sampled, (posterior.sample(noise) - 0.1) * 0.5)
    torch.testing.assert_close(model.decode(sampled), model(x, noise)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("embed_dim", [None, 5])
def test_saving_and_loading(embed_dim: int | None) -> None:
    own = AutoencoderKL(SMALL, embed_dim, colorize_nlabels=2, scale_factor=0.7, shift_factor=0.2).eval()
    losses = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.ones(1)}
    state = {**own.state_dict(), **losses}
    assert detect(state)
    again = load(state, json.loads(json.dumps(own.config)))
    assert again.config == own.config
    assert load(state).config["embed_dim"] == embed_dim
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(again.decode(again.encode(x)), own.decode(own.encode(x)))


def test_units_of_public_checkpoints() -> None:
    one = empty_state(PUBLIC, 4)
    inside = {f"first_stage_model.{key}": value for key, value in one.items()}
    sixteen = empty_state({**PUBLIC, "z_channels": 16}, None)
    third = {f"first_stage_model.{key}": value for key, value in sixteen.items()}
    blank = torch.zeros(1)
    for state, units in (
        (one, (0.18215, 0)),
        ({**inside, "cond_stage_model.transformer.x": blank}, (0.18215, 0)),
        ({**inside, "conditioner.embedders.0.x": blank}, (0.13025, 0)),
        ({**inside, "scale_factor": torch.tensor(0.9)}, (0.9, 0)),
        (sixteen, (0.3611, 0.1159)),
        ({**third, "model.diffusion_model.joint_blocks.0.x": blank}, (1.5305, 0.0609)),
        (empty_state(SMALL, 4), (1, 0)),
    ):
        model = load(state)
        assert (model.scale_factor, model.shift_factor) == (pytest.approx(units[0]), units[1])
        assert model.factor == (2 if model.structure.ch == 32 else 8)


def test_refusals() -> None:
    with pytest.raises(BadInput, match="double_z"):
        AutoencoderKL({**SMALL, "double_z": False}, 4)
    with pytest.raises(BadInput, match="scale"):
        AutoencoderKL(SMALL, 4, scale_factor=0.0)
    assert not detect(empty_state(SMALL, 4) | {"quantize.embedding.weight": torch.ones(3, 4)})
    with pytest.raises(BadWeights, match="means and variances"):
        load({"encoder.conv_in.weight": torch.ones(1)})
