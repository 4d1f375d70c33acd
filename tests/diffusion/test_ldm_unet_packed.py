"""A packed U-Net gives the numbers of the plain one."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from lienzo.diffusion.ldm_unet import LdmUnet


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
