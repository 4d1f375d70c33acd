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
