"""VQGAN beyond its golden files: loading from whole checkpoints, latents and their units, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.autoencoders.first_stage import DiscreteStage
from lienzo.autoencoders.vqgan import VQModel, detect, load
from lienzo.core.errors import BadInput, BadWeights

SMALL: dict[str, Any] = {
    "ch": 32, "out_ch": 3, "num_res_blocks": 1, "attn_resolutions": [], "in_channels": 3, "resolution": 16,
    "z_channels": 4, "ch_mult": [1, 1], "double_z": False,
}  # fmt: skip


def model(**options: Any) -> VQModel:
    torch.manual_seed(0)
    made = VQModel(SMALL, **{"n_embed": 12, "embed_dim": 5, **options}).eval()
    torch.nn.init.normal_(made.quantize.embedding.weight)
    return made


def same(a: VQModel, b: VQModel) -> bool:
    x = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    with torch.no_grad():
        return torch.equal(a(x)[0], b(x)[0])


def test_from_checkpoints_of_all_kinds() -> None:
    own = model()
    lightning = {**own.state_dict(), "loss.discriminator.main.0.weight": torch.randn(2, 3, 4, 4)}
    averages = {
        **own.state_dict(),
        "quantize.embedding.cluster_size": torch.ones(12),
        "quantize.embedding.embed_avg": torch.ones(12, 5),
        "model_ema.encoderconv_inweight": torch.ones(1),
    }
    inside = {f"first_stage_model.{key}": value for key, value in lightning.items()}
    inside |= {"transformer.tok_emb.weight": torch.ones(3, 3), "cond_stage_model.quant_conv.weight": torch.ones(1)}
    for state in (own.state_dict(), lightning, averages, inside):
        assert detect(state)
        assert same(load(state), own)


@pytest.mark.parametrize(
    "options",
    [
        {"beta": 0.5, "legacy": False, "sane_index_shape": True},
        {"remap": [3, 1, 2], "unknown_index": "extra"},
        {"remap": [3, 1, 2], "unknown_index": 1},
        {"colorize_nlabels": 7},
        {"scale_factor": 0.5},
    ],
    ids=str,
)
def test_every_option_survives_saving(options: dict[str, Any]) -> None:
    own = model(**options)
    again = load(own.state_dict(), json.loads(json.dumps(own.config)))
    assert again.config == own.config
    assert same(again, own)
    if "remap" in options:
        assert load(own.state_dict()).config["remap"] == options["remap"]
    if "colorize_nlabels" in options:
        rgb = load(own.state_dict()).to_rgb(torch.eye(7).reshape(1, 7, 7, 1))
        assert rgb.shape == (1, 3, 7, 1)
        assert (rgb.min(), rgb.max()) == (-1, 1)


@torch.no_grad()
def test_units_of_latents() -> None:
    own, x = model(), torch.randn(1, 3, 16, 16)
    latents, image, codebook = own.encode(x), own.decode(own.encode(x)), own.codebook
    own.rescale(0.25)
    torch.testing.assert_close(own.encode(x), 0.25 * latents)
    torch.testing.assert_close(own.codebook, 0.25 * codebook)
    torch.testing.assert_close(own.decode(own.encode(x)), image)
    assert own.config["scale_factor"] == 0.25
    state = {**{f"first_stage_model.{k}": v for k, v in own.state_dict().items()}, "scale_factor": torch.tensor(0.25)}
    assert load(state).scale_factor == 0.25


def test_painting_gradients_reach_the_latents() -> None:
    own = model()
    assert isinstance(own, DiscreteStage)
    latents = torch.randn(1, 5, 4, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(own.decode(latents).square().mean(), latents)
    assert torch.isfinite(grad).all()
    assert grad.abs().max() > 0


def test_foreign_and_broken_weights() -> None:
    state: dict[str, Tensor] = model().state_dict()
    assert not detect({})
    assert not detect({key: value for key, value in state.items() if not key.startswith("quantize")})
    with pytest.raises(BadWeights, match=r"quantize\.embedding"):
        load({"a": torch.ones(1)})
    without = {key: value for key, value in state.items() if key != "decoder.norm_out.bias"}
    with pytest.raises(BadWeights, match=r"'decoder\.norm_out\.bias' is missing"):
        load(without)
    with pytest.raises(BadWeights, match=r"'encoder\.extra' is unexpected"):
        load({**state, "encoder.extra": torch.ones(1)})
    with pytest.raises(BadWeights, match="number of blocks"):
        load(state, {"ddconfig": {"ch_mult": [1, 1, 1]}})
    with pytest.raises(BadWeights, match="no VQGAN"):
        load(state, {"colour": 3})
    with pytest.raises(BadWeights, match="shape"):
        load(state, {"n_embed": 13})


def test_refusals() -> None:
    own = model()
    with pytest.raises(BadInput, match="at least 2 pixels"):
        own.encode(torch.zeros(1, 3, 1, 8))
    with pytest.raises(BadInput, match="batch, 3"):
        own.encode(torch.zeros(1, 4, 8, 8))
    with pytest.raises(BadInput, match="batch, 5"):
        own.decode(torch.zeros(1, 4, 8, 8))
    with pytest.raises(BadInput, match="double_z"):
        VQModel({**SMALL, "double_z": True}, 4, 4)
    with pytest.raises(BadInput, match="codebook"):
        VQModel(SMALL, 0, 4)
