"""A packed U-Net gives the numbers of the plain one, also for a text that it reads once."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from lienzo.diffusion.ldm_unet import LdmUnet
from lienzo.diffusion.spatial_transformer import CrossAttention, KeptContext, attend


@pytest.mark.parametrize("linear", [False, True])
def test_packed(linear: bool) -> None:
    torch.manual_seed(0)
    plain = LdmUnet(
        8, 4, 32, 4, 1, (1, 2), channel_mult=(1, 2), num_heads=4, use_spatial_transformer=True, context_dim=24,
        use_linear_in_transformer=linear,
    ).eval()  # fmt: skip
    for parameter in plain.parameters():  # some begin as zeros
        torch.nn.init.normal_(parameter, std=0.1)
    fast = deepcopy(plain)
    fast.pack_torso()
    assert len(list(fast.parameters())) < len(list(plain.parameters())) / 2
    x, context, timesteps = torch.randn(2, 4, 8, 6), torch.randn(2, 5, 24), torch.tensor([3.0, 700.0])
    with torch.no_grad():
        wanted = plain(x, timesteps, context)
        found = fast(x, timesteps, context)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5
    gradients = []
    for network in (plain, fast):
        given = x.clone().requires_grad_()
        gradients += torch.autograd.grad(network(given, timesteps, context).square().sum(), given)
    assert float((gradients[1] - gradients[0]).abs().max() / gradients[0].abs().max()) < 1e-4


@pytest.mark.parametrize("disabled", [False, True])
def test_a_kept_context_is_read_once(disabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = LdmUnet(
        8, 4, 32, 4, 1, (1, 2), channel_mult=(1, 2), num_heads=4, use_spatial_transformer=True, context_dim=24,
        disable_self_attentions=(disabled, disabled), disable_middle_self_attn=disabled,
    ).eval()  # fmt: skip
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.requires_grad_(False)
    context, other = torch.randn(2, 2, 5, 24)
    kept, at = KeptContext(context), torch.tensor([3.0, 700.0])
    first, second = torch.randn(2, 2, 4, 8, 6)
    wanted = [network(x, at, context) for x in (first, second)]
    assert not torch.equal(wanted[0], network(first, at, other))
    assert torch.equal(network(first, at, kept), wanted[0])

    def read_again(layer: CrossAttention, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert source is not context
        return read(layer, source)

    read = CrossAttention.keys_values
    monkeypatch.setattr(CrossAttention, "keys_values", read_again)
    assert torch.equal(network(second, at, kept), wanted[1])
    gradients = []
    for told in (kept, context):
        monkeypatch.undo()
        x = first.clone().requires_grad_()
        gradients += torch.autograd.grad(network(x, at, told).square().sum(), x)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("channels", [1, 8, 16, 40])
def test_narrow_heads_are_widened_by_nothing(channels: int) -> None:
    q, (k, v) = torch.randn(2, 3, 9, channels), torch.randn(2, 2, 3, 7, channels)
    weights = torch.softmax(q @ k.mT / channels**0.5, dim=-1)
    torch.testing.assert_close(attend(q, k, v), weights @ v, rtol=1e-5, atol=1e-5)
