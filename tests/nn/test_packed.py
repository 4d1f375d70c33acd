"""Packed layers give the numbers of the plain ones, and their gradients with respect to inputs."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from lienzo.nn.gated import GatedGelu
from lienzo.nn.packed import PackedConv2d, PackedGatedGelu, PackedLinear, pack

LAYERS = {
    "linear": (nn.Linear(24, 40), (2, 7, 24)),
    "no bias": (nn.Linear(24, 40, bias=False), (2, 7, 24)),
    "3x3": (nn.Conv2d(32, 48, 3, padding=1), (2, 32, 6, 5)),
    "strided": (nn.Conv2d(32, 48, 3, stride=2, padding=1), (2, 32, 7, 5)),
    "grouped": (nn.Conv2d(32, 64, 3, groups=2, bias=False), (1, 32, 6, 5)),
    "1x1": (nn.Conv2d(32, 48, 1), (2, 32, 6, 5)),
    "gated": (GatedGelu(24, 40), (2, 7, 24)),
    "strided 1x1": (nn.Conv2d(32, 48, 1, stride=2), (2, 32, 6, 5)),
}


def packed(layer: nn.Module) -> nn.Module:
    part = nn.Sequential(deepcopy(layer))
    assert pack(part)
    assert isinstance(part[0], PackedLinear | PackedConv2d | PackedGatedGelu)
    assert not list(part.parameters())
    return part


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("last", [False, True])
def test_equals_plain(name: str, last: bool) -> None:
    layer, shape = LAYERS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    if last:  # another order in memory
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.mT.contiguous().mT
    with torch.no_grad():
        torch.testing.assert_close(packed(layer)(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_gradient(name: str) -> None:
    layer, shape = LAYERS[name]
    gradients: list[Tensor] = []
    for each in (packed(layer), layer):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        gradients += torch.autograd.grad(each(x).square().sum(), x)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


def test_what_cannot_be_packed_stays() -> None:
    part = nn.Sequential(nn.Linear(3, 4)).half()
    assert not pack(part)
    assert type(part[0]) is nn.Linear
    reflecting = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    assert pack(reflecting)
    assert type(reflecting[0]) is nn.Conv2d


def test_a_layer_with_hooks_keeps_them() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    layer.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    part = nn.Sequential(deepcopy(layer), nn.Linear(4, 4))
    x = torch.randn(1, 3, 5, 4)
    wanted = part(x)
    assert pack(part)
    assert isinstance(part[1], PackedLinear)
    torch.testing.assert_close(part(x), wanted, rtol=1e-5, atol=1e-5)
