"""Winograd's convolutions against torch's, in float64 where the matrices are proven and in float32 where they run."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lienzo.nn import winograd
from lienzo.nn.packed import LARGEST, NARROW, PackedConv2d, pack
from lienzo.nn.winograd import POINTS, WinogradConv2d, filtering_matrices


def layer_of(channels: int, out: int, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels, out, 3, padding=1, bias=bias)


@pytest.mark.parametrize("tile", POINTS)
def test_matrices_correlate(tile: int) -> None:
    inward, filters, outward = filtering_matrices(tile)
    signal, taps = torch.randn(tile + 2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    found = outward @ ((filters @ taps) * (inward @ signal))
    torch.testing.assert_close(found, signal.unfold(0, 3, 1) @ taps, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tile", POINTS)
@pytest.mark.parametrize("size", [(8, 8), (5, 11), (1, 2), (12, 7)])
@pytest.mark.parametrize("last", [False, True])
def test_equals_plain(tile: int, size: tuple[int, int], last: bool) -> None:
    layer = layer_of(24, 40, bias=last)
    x = torch.randn(2, 24, *size, generator=torch.Generator().manual_seed(1))
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    with torch.no_grad():
        torch.testing.assert_close(WinogradConv2d(layer, tile)(x), layer(x), rtol=1e-5, atol=1e-5)


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = WinogradConv2d(layer_of(16, 24))
    x = torch.randn(2, 16, 21, 18)
    with torch.no_grad():
        whole = network(x)
        monkeypatch.setattr(winograd, "STRIP", 2 * 5 * 16 * 36 * 2)  # two rows of tiles
        assert torch.allclose(network(x), whole, rtol=1e-5, atol=1e-6)


def test_rounding_stays_small() -> None:
    """The usual points 0, 1, -1, 2, -2 would be above 2e-6."""
    layer = layer_of(320, 32, bias=False)
    x = torch.randn(1, 320, 16, 16, generator=torch.Generator().manual_seed(1))
    exact = F.conv2d(x.double(), layer.weight.double(), padding=1)
    for tile, bound in ((2, 1e-6), (4, 2e-6)):
        with torch.no_grad():
            error = (WinogradConv2d(layer, tile)(x) - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        assert error < bound


@pytest.mark.parametrize("tile", POINTS)
def test_gradient(tile: int) -> None:
    layer = layer_of(24, 40)
    gradients = []
    for each in (WinogradConv2d(layer, tile), layer):
        x = torch.randn(2, 24, 6, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
        gradients += torch.autograd.grad(each(x).square().sum(), x)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


def test_packing_chooses_by_width_and_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LARGEST, 4, 9 * NARROW * NARROW)
    monkeypatch.setitem(LARGEST, 2, 9 * NARROW * 2 * NARROW)
    wide, wider = layer_of(NARROW, NARROW), layer_of(NARROW, 2 * NARROW)
    others = [layer_of(NARROW - 1, NARROW), layer_of(2 * NARROW, 2 * NARROW), nn.Conv2d(NARROW, NARROW, 3)]
    part = nn.Sequential(*(deepcopy(layer) for layer in (wide, wider, *others)))
    assert pack(part)
    assert [each.tile for each in part[:2]] == [4, 2]
    assert all(type(each) is PackedConv2d for each in part[2:])
    x = torch.randn(1, NARROW, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(part[1](x), wider(x), rtol=1e-5, atol=1e-5)


def test_bf16_stays_direct() -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16")
    part = nn.Sequential(layer_of(NARROW, NARROW).bfloat16())
    assert pack(part)
    assert type(part[0]) is PackedConv2d
