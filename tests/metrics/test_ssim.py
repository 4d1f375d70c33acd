"""SSIM against a window-by-window oracle, and MS-SSIM against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput
from lienzo.metrics.pairs import PAIR_METRICS
from lienzo.metrics.ssim import MS_WEIGHTS, levels_that_fit, ms_ssim, ssim, ssim_nonnegative, ssim_uniform7


def pair(height: int, width: int, channels: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(2, channels, height, width, generator=generator, dtype=torch.float64)
    return x, (x + 0.3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def oracle(x: Tensor, y: Tensor, weights: Tensor, correction: float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean contrast of each channel with a 2-d window, by weighted moments of every patch."""
    side = len(weights)
    a, b = (F.unfold(z.flatten(0, 1)[:, None], side).transpose(1, 2) for z in (x, y))  # (BC, patches, side^2)
    w = torch.outer(weights, weights).flatten()
    ma, mb = a @ w, b @ w
    va, vb = (((p - m[..., None]) ** 2) @ w * correction for p, m in ((a, ma), (b, mb)))
    cov = ((a - ma[..., None]) * (b - mb[..., None])) @ w * correction
    contrast = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
    whole = contrast * (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
    return whole.mean(1).view(x.shape[:2]), contrast.mean(1).view(x.shape[:2])


def gaussian(side: int, sigma: float) -> Tensor:
    weights = torch.tensor([math.exp(-((i - side // 2) ** 2) / (2 * sigma**2)) for i in range(side)]).double()
    return weights / weights.sum()


@pytest.mark.parametrize(("window", "sigma"), [(11, 1.5), (5, 0.8), (9, 3.0)])
def test_gaussian_window(window: int, sigma: float) -> None:
    x, y = pair(16, 19)
    wanted = oracle(x, y, gaussian(window, sigma))[0].mean(1)
    torch.testing.assert_close(ssim(x, y, window=window, sigma=sigma), wanted, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ssim(255 * x, 255 * y, window=window, sigma=sigma, data_range=255), wanted, rtol=1e-6,
                               atol=1e-9)  # fmt: skip


def test_flat_window_with_the_sample_covariance() -> None:
    x, y = pair(12, 11)
    wanted = oracle(x, y, torch.full((7,), 1 / 7, dtype=torch.float64), 49 / 48)[0].mean(1)
    torch.testing.assert_close(ssim_uniform7(x, y), wanted)
    assert (ssim(x, y, window=7, sigma=None) - wanted).abs().max() > 1e-5


def test_own_kernel_and_constants() -> None:
    x, y = pair(12, 12)
    torch.testing.assert_close(ssim(x, y, kernel=gaussian(5, 1.1)), ssim(x, y, window=5, sigma=1.1))
    assert (ssim(x, y, k=(0.01, 0.4)) > ssim(x, y)).all()  # a large constant drowns the difference


def test_equal_pictures_score_one() -> None:
    x, _ = pair(176, 176, 1)
    for name in PAIR_METRICS:
        score = PAIR_METRICS.load(name)(x, x)
        assert score.shape == (() if name == "psnr-pooled" else (2,))
        assert torch.isinf(score).all() if "psnr" in name else torch.allclose(score, torch.ones(2).double()), name


def test_nonnegative_counts_an_inverse_channel_as_zero() -> None:
    x, _ = pair(16, 16)
    inverse = torch.stack([x[:, 0], 1 - x[:, 1]], 1)
    assert ssim(x, inverse)[0] < 0.5
    assert ssim_nonnegative(x, inverse).tolist() == pytest.approx([0.5, 0.5])


def test_volumes() -> None:
    x, y = pair(12, 13)
    stacked = [z[:, :, None].expand(-1, -1, 11, -1, -1) for z in (x, y)]
    torch.testing.assert_close(ssim(stacked[0], stacked[1]), ssim(x, y))  # nothing changes along the new axis


def test_ms_ssim_by_its_definition() -> None:
    x, y = pair(33, 26)
    weights, taps, wanted, a, b = (0.3, 0.5, 0.2), gaussian(5, 1.5), torch.ones(2, 2).double(), x, y
    for level, weight in enumerate(weights):
        whole, contrast = oracle(a, b, taps)
        wanted = wanted * (whole if level == 2 else contrast).clamp(min=0) ** weight
        a, b = (F.avg_pool2d(z, 2, padding=[s % 2 for s in z.shape[2:]]) for z in (a, b))
    torch.testing.assert_close(ms_ssim(x, y, window=5, weights=weights), wanted.mean(1), rtol=1e-6, atol=1e-9)


def test_levels_are_reduced_on_demand() -> None:
    x, y = pair(50, 60)
    assert [levels_that_fit((n, 999)) for n in (10, 11, 20, 21, 160, 161, 999)] == [0, 1, 1, 2, 4, 5, 5]
    with pytest.raises(BadInput, match=r"5 scales needs pictures of 161 pixels a side; these have 50.*enough for 3"):
        ms_ssim(x, y)
    weights = [w * sum(MS_WEIGHTS) / sum(MS_WEIGHTS[:3]) for w in MS_WEIGHTS[:3]]
    torch.testing.assert_close(ms_ssim(x, y, reduce_levels=True), ms_ssim(x, y, weights=weights))
    one = ms_ssim(*(z[..., :15] for z in (x, y)), reduce_levels=True)
    torch.testing.assert_close(one, ssim_nonnegative(x[..., :15], y[..., :15]), rtol=1e-3, atol=1e-3)
    with pytest.raises(BadInput, match="window of 11 needs pictures of 11 pixels"):
        ms_ssim(x[..., :10], y[..., :10], reduce_levels=True)


@pytest.mark.parametrize("name", ["ssim", "ssim-nonnegative", "ssim-uniform7", "ms-ssim-auto", "psnr"])
def test_gradients_raise_the_score(name: str) -> None:
    metric = PAIR_METRICS.load(name)
    x, y = (z.float() for z in pair(40, 40))
    x.requires_grad_()
    before = metric(x, y)
    (gradient,) = torch.autograd.grad(before.sum(), x)
    assert gradient.isfinite().all()
    assert (metric(x + 1e-3 * gradient / gradient.abs().max(), y) > before).all()


def test_ms_ssim_has_no_nan_slope_where_contrast_is_negative() -> None:
    x, _ = pair(40, 40)
    x.requires_grad_()
    score = ms_ssim(x, (1 - x).detach(), reduce_levels=True)
    (gradient,) = torch.autograd.grad(score.sum(), x)
    assert score.tolist() == [0, 0]
    assert gradient.isfinite().all()


def test_wrong_input() -> None:
    x, y = pair(16, 16)
    with pytest.raises(BadInput, match="window of 11 needs pictures of 11 pixels a side; these have 8"):
        ssim(x[..., :8], y[..., :8])
    with pytest.raises(BadInput, match="odd number of pixels; 8"):
        ssim(x, y, window=8)
    with pytest.raises(BadInput, match="spread"):
        ssim(x, y, sigma=0)
    with pytest.raises(BadInput, match="one shape"):
        ssim(x, y[:1])
    with pytest.raises(BadInput, match="at least one scale"):
        ms_ssim(x, y, weights=())
    with pytest.raises(BadInput, match="did you mean 'ms-ssim'"):
        PAIR_METRICS["ms_ssim"]
