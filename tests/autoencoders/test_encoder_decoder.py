"""The convolutional encoder and decoder: every option, any factor, gradients, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lienzo.autoencoders.convolutional import read_structure
from lienzo.autoencoders.encoder_decoder import (
    Attention,
    Decoder,
    Encoder,
    LinearAttention,
    Structure,
    Upsample,
    doubled_and_convolved,
)
from lienzo.core.errors import BadInput

SMALL: dict[str, Any] = {
    "ch": 32, "out_ch": 3, "num_res_blocks": 1, "attn_resolutions": [8], "in_channels": 3, "resolution": 16,
    "z_channels": 4, "ch_mult": [1, 2],
}  # fmt: skip
VARIANTS: list[dict[str, Any]] = [
    {"ch_mult": [1]},
    {"ch_mult": [1, 1, 2, 2]},
    {"attn_resolutions": []},
    {"attn_resolutions": [16, 8], "num_res_blocks": 2},
    {"attn_type": "none"},
    {"attn_type": "linear"},
    {"use_linear_attn": True},
    {"resamp_with_conv": False},
    {"double_z": False},
    {"in_channels": 1, "out_ch": 4},
    {"tanh_out": True},
    {"dropout": 0.5},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@torch.no_grad()
def test_every_option_runs_and_is_read_off_the_shapes(options: dict[str, Any]) -> None:
    structure = Structure.of({**SMALL, **options})
    halves = nn.ModuleDict({"encoder": Encoder(structure), "decoder": Decoder(structure)}).eval()
    features = halves["encoder"](torch.randn(1, structure.in_channels, 16, 24))
    wide = structure.z_channels * (2 if structure.double_z else 1)
    assert features.shape == (1, wide, 16 // structure.factor, 24 // structure.factor)
    image = halves["decoder"](features[:, : structure.z_channels])
    assert image.shape == (1, structure.out_ch, 16, 24)
    read = Structure.of(read_structure(halves.state_dict()))
    for name in ("ch", "out_ch", "num_res_blocks", "in_channels", "z_channels", "double_z", "resamp_with_conv"):
        assert getattr(read, name) == getattr(structure, name) or (name, structure.levels) == ("resamp_with_conv", 1)
    assert list(read.ch_mult) == list(structure.ch_mult)
    if structure.attn_type != "none":  # attention that is nothing leaves no trace
        assert [read.attends(n) for n in range(read.levels)] == [structure.attends(n) for n in range(read.levels)]
        again = nn.ModuleDict({"encoder": Encoder(read), "decoder": Decoder(read)})
        assert again.state_dict().keys() == halves.state_dict().keys()


@torch.no_grad()
def test_tanh_and_features() -> None:
    torch.manual_seed(0)
    plain = Decoder(Structure.of(SMALL)).eval()
    z = torch.randn(1, 4, 4, 4)
    with_tanh, features = (Decoder(Structure.of({**SMALL, name: True})) for name in ("tanh_out", "give_pre_end"))
    for other in (with_tanh, features):
        other.load_state_dict(plain.state_dict())
        other.eval()
    torch.testing.assert_close(with_tanh(z), plain(z).tanh())
    torch.testing.assert_close(plain.finish(features(z)), plain(z))


def test_doubling_and_convolving_in_one_step() -> None:
    torch.manual_seed(0)
    layer = Upsample(5, True)
    x = torch.randn(2, 5, 6, 9, dtype=torch.float64, requires_grad=True)
    layer = layer.double()
    plain = layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    fast = doubled_and_convolved(x, layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(plain.square().sum(), [x, layer.conv.weight], retain_graph=True)
    found = torch.autograd.grad(fast.square().sum(), [x, layer.conv.weight])
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_attention_by_the_formula() -> None:
    torch.manual_seed(0)
    layer = Attention(32).eval()
    x = torch.randn(2, 32, 3, 5)
    normed = F.group_norm(x, 32, layer.norm.weight, layer.norm.bias, 1e-6)
    q, k, v = (conv(normed).flatten(2) for conv in (layer.q, layer.k, layer.v))
    shares = (torch.einsum("bci,bcj->bij", q, k) / 32**0.5).softmax(dim=2)
    mixed = torch.einsum("bij,bcj->bci", shares, v).reshape(x.shape)
    torch.testing.assert_close(layer(x), x + layer.proj_out(mixed))


@torch.no_grad()
def test_linear_attention_by_the_formula() -> None:
    torch.manual_seed(0)
    layer = LinearAttention(6)
    x = torch.randn(2, 6, 3, 4)
    q, k, v = layer.to_qkv(x).flatten(2).split(6, dim=1)
    context = torch.einsum("bdn,ben->bde", k.softmax(dim=-1), v)
    mixed = torch.einsum("bde,bdn->ben", context, q).reshape(x.shape)
    torch.testing.assert_close(layer(x), layer.to_out(mixed))


def test_without_gradients_nothing_changes_and_the_input_is_kept() -> None:
    torch.manual_seed(0)
    decoder = Decoder(Structure.of(SMALL)).eval()
    z = torch.randn(1, 4, 4, 6)
    before = z.clone()
    with torch.no_grad():
        lean = decoder(z)
        last = decoder.to(memory_format=torch.channels_last)(z)
    assert torch.equal(z, before)
    torch.testing.assert_close(lean, decoder(z.requires_grad_()).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, lean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"ch": 20},
        {"ch": 0},
        {"ch_mult": []},
        {"ch_mult": [1] * 40},
        {"num_res_blocks": 1000},
        {"attn_type": "cubic"},
        {"z_channels": 1.5},
    ],
    ids=str,
)
def test_settings_that_make_no_network(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Encoder(Structure.of({**SMALL, **options}))
    with pytest.raises(BadInput, match="do not fit"):
        Structure.of({"ch": 32})
