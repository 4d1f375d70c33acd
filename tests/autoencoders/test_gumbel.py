"""The Gumbel VQGAN beyond its golden files: relaxation, noise, numberings, loading."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from lienzo.autoencoders.gumbel import GumbelQuantizer, GumbelVQ, detect, gumbel_noise, load
from lienzo.core.errors import BadInput, BadWeights

SMALL: dict[str, Any] = {
    "ch": 32, "out_ch": 3, "num_res_blocks": 1, "attn_resolutions": [], "in_channels": 3, "resolution": 16,
    "z_channels": 4, "ch_mult": [1, 1], "double_z": False,
}  # fmt: skip


def test_noise_chooses_codes_as_often_as_the_softmax_says() -> None:
    torch.manual_seed(0)
    layer = GumbelQuantizer(2, 3, 4).train()
    z = torch.randn(1, 2, 1, 1).expand(1, 2, 100, 100)
    noise = gumbel_noise((1, 4, 100, 100), torch.Generator().manual_seed(1))
    _, _, chosen = layer(z, 0.7, noise)
    found = torch.bincount(chosen.flatten(), minlength=4) / 10_000
    torch.testing.assert_close(found, layer.proj(z)[0, :, 0, 0].softmax(dim=0), atol=0.02, rtol=0)
    assert noise.mean() == pytest.approx(0.5772, abs=0.02)


def test_hard_forward_and_soft_backward() -> None:
    torch.manual_seed(0)
    z, noise = torch.randn(1, 2, 3, 3), gumbel_noise((1, 5, 3, 3), torch.Generator().manual_seed(1))
    hard = GumbelQuantizer(2, 3, 5, straight_through=True).train()
    soft = GumbelQuantizer(2, 3, 5, straight_through=False).train()
    soft.load_state_dict(hard.state_dict())
    of_hard, loss, indices = hard(z, 0.5, noise)
    of_soft, _, _ = soft(z, 0.5, noise)
    torch.testing.assert_close(of_hard, hard.embed(indices).movedim(-1, 1))
    assert (of_soft - of_hard).abs().max() > 1e-3
    shares = ((hard.proj(z) + noise) / 0.5).softmax(dim=1)
    torch.testing.assert_close(of_soft, torch.einsum("bnhw,nd->bdhw", shares, soft.embed.weight))
    weights = torch.randn_like(of_hard)
    grads = [
        torch.autograd.grad((of * weights).sum(), net.proj.weight) for of, net in ((of_hard, hard), (of_soft, soft))
    ]
    torch.testing.assert_close(*grads)
    assert loss > 0
    torch.testing.assert_close(soft.eval()(z)[0], soft.look_up(soft.codes(z), (1, 3, 3, 3)))


def test_only_used_codes_are_chosen() -> None:
    torch.manual_seed(0)
    layer = GumbelQuantizer(2, 3, 6, remap=[4, 1]).eval()
    z = torch.randn(1, 2, 4, 4)
    quantized, _, indices = layer(z, 1.0, gumbel_noise((1, 6, 4, 4), torch.Generator().manual_seed(0)))
    assert indices.max() <= 1
    torch.testing.assert_close(quantized, layer.look_up(indices, (1, 4, 4, 3)))
    assert set(layer.codes(z).flatten().tolist()) <= {1, 4}


def test_saving_and_loading() -> None:
    own = GumbelVQ(SMALL, 9, 4, kl_weight=0.1, temp_init=0.5, remap=[1, 5], scale_factor=2.0).eval()
    state = {"first_stage_model." + key: value for key, value in own.state_dict().items()}
    assert detect(state)
    again = load(state, json.loads(json.dumps(own.config)))
    assert again.config == own.config
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(again.decode(again.encode(x)), own.decode(own.encode(x)))
    assert load(state).config["remap"] == [1, 5]
    torch.testing.assert_close(own.encode(x), own.from_codes(own.codes(x)))


def test_refusals() -> None:
    with pytest.raises(BadInput, match="as wide as"):
        GumbelVQ(SMALL, 9, 5)
    with pytest.raises(BadWeights, match=r"quantize\.embed"):
        load({})
