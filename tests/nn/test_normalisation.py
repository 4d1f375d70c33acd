import pytest
import torch
import torch.nn.functional as F

from lienzo.core.errors import BadInput
from lienzo.nn.normalisation import GroupNorm32


def test_half_precision_is_normalised_in_float32() -> None:
    norm = GroupNorm32(8, groups=2)
    x = 1000 + torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))  # float16 would lose the spread
    out = norm(x.half())
    assert out.dtype == torch.float16
    expected = F.group_norm(x.half().float(), 2, eps=1e-5)
    torch.testing.assert_close(out.float(), expected, atol=2e-3, rtol=2e-3)


def test_float64_stays_float64() -> None:
    x = torch.randn(1, 32, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = GroupNorm32(32, eps=1e-12)(x)
    assert out.dtype == torch.float64
    torch.testing.assert_close(out, F.group_norm(x, 32, eps=1e-12), rtol=1e-11, atol=1e-14)


def test_eps_counts() -> None:
    x = torch.full((1, 32, 2), 1.0)
    x[..., 1] = 1.001
    assert GroupNorm32(32, eps=1e-5)(x).abs().max() < GroupNorm32(32, eps=1e-6)(x).abs().max() < 0.6


def test_uneven_channels_are_refused() -> None:
    with pytest.raises(BadInput, match="40 channels"):
        GroupNorm32(40)


def test_gain_and_bias_keep_their_precision_in_half_precision() -> None:
    norm = GroupNorm32(2, groups=2)
    norm.weight.data.fill_(1000.3)  # float16 would round it to 1000.5
    norm.bias.data.fill_(-1000.0)
    x = torch.tensor([[[-1.0, 1.0], [-1.0, 1.0]]])
    assert norm(x.half())[0, 0, 1].item() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("offset", [0.0, 20.0])
@pytest.mark.parametrize(("batch", "size"), [(1, (256, 256)), (3, (32, 40)), (2, (1, 1030))])
def test_large_maps_with_channels_last_are_summed_well(batch: int, size: tuple[int, int], offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = offset + torch.randn(batch, 8, *size, generator=generator)
    x[:, 2:4] *= 3
    norm = GroupNorm32(8, groups=4, eps=1e-6).requires_grad_(False)
    for parameter in norm.parameters():
        parameter.copy_(torch.randn(8, generator=generator))
    expected = F.group_norm(x.double(), 4, norm.weight.double(), norm.bias.double(), 1e-6)
    found = norm(x.contiguous(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()
    assert (norm(x) - expected).abs().max() < 1e-6 * expected.abs().max()


def test_a_constant_map_with_channels_last_stays_finite() -> None:
    x = torch.full((1, 4, 32, 32), 1000.1).contiguous(memory_format=torch.channels_last)
    assert GroupNorm32(4, groups=2).requires_grad_(False)(x).abs().max() < 0.1


def test_gradients_of_large_maps_with_channels_last() -> None:
    norm = GroupNorm32(4, groups=2)
    x = torch.randn(1, 4, 32, 33, generator=torch.Generator().manual_seed(0))
    last = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = x.clone().requires_grad_()
    for leaf in (last, plain):
        norm(leaf).pow(3).sum().backward()
    torch.testing.assert_close(last.grad, plain.grad, rtol=1e-4, atol=1e-5)
