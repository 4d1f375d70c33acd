"""SSIM and MS-SSIM: how alike two pictures are in brightness, contrast and structure.

Windows are applied without padding. The variants in use differ by several hundredths, so each has its name: the
paper's gaussian window of 11 pixels (`ssim`), the flat window of 7 with the sample covariance that scikit-image
takes by default (`ssim_uniform7`), and `ms_ssim` over several scales.

References: Wang et al. 2004 (SSIM); Wang, Simoncelli & Bovik 2003 (MS-SSIM).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput
from lienzo.imaging.psnr import check_pair

MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float | None = 1.5,
    k: tuple[float, float] = (0.01, 0.03),
    sample_covariance: bool = False,
    nonnegative: bool = False,
    kernel: Tensor | None = None,
) -> Tensor:
    """SSIM of each picture, (B,), at most 1; the mean over channels. Differentiable.

    Args:
        x, y: (B, C, H, W), or volumes (B, C, D, H, W).
        data_range: the difference between white and black, e.g. 1 or 255.
        window: side of the window in pixels, odd.
        sigma: spread of a gaussian window in pixels; None for a flat one.
        k: the constants that steady the brightness and the contrast term.
        sample_covariance: divide by n - 1 instead of n (flat windows of n pixels).
        nonnegative: count a channel below 0 as 0.
        kernel: a window of your own, (n,) with n odd and sum 1, used along each axis.

    Raises:
        BadInput: the pictures differ in shape or are smaller than the window.
    """
    x, y = check_pair(x, y, data_range)
    taps = _taps(window, sigma, kernel, x)
    _check_side(x, len(taps), 1)
    similarity, _ = _ssim_and_contrast(x, y, taps, data_range, k, sample_covariance)
    return (similarity.relu() if nonnegative else similarity).mean(1)


def ssim_nonnegative(x: Tensor, y: Tensor, *, data_range: float = 1.0) -> Tensor:
    """`ssim` with channels below 0 counted as 0, (B,)."""
    return ssim(x, y, data_range=data_range, nonnegative=True)


def ssim_uniform7(x: Tensor, y: Tensor, *, data_range: float = 1.0) -> Tensor:
    """scikit-image's default, (B,): a flat window of 7 pixels and the sample covariance."""
    return ssim(x, y, data_range=data_range, window=7, sigma=None, sample_covariance=True)


def ms_ssim(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float | None = 1.5,
    k: tuple[float, float] = (0.01, 0.03),
    weights: Sequence[float] = MS_WEIGHTS,
    reduce_levels: bool = False,
    kernel: Tensor | None = None,
) -> Tensor:
    """MS-SSIM of each picture, (B,) in [0, 1]: contrasts at every scale, times the SSIM at the coarsest.

    Args:
        x, y, data_range, window, sigma, k, kernel: as in `ssim`.
        weights: the exponent of each scale, finest first; each scale halves the picture.
        reduce_levels: for small pictures take as many scales as fit and stretch their weights to the same sum;
            such a figure compares only with figures of as many scales (see `levels_that_fit`).

    Raises:
        BadInput: the pictures are too small for so many scales.
    """
    x, y = check_pair(x, y, data_range)
    taps = _taps(window, sigma, kernel, x)
    if not weights:
        raise BadInput("MS-SSIM needs the weight of at least one scale.")
    exponents = torch.tensor(list(weights), dtype=x.dtype, device=x.device)
    if reduce_levels:
        kept = exponents[: max(levels_that_fit(x.shape[2:], len(taps), len(weights)), 1)]
        exponents = kept * (exponents.sum() / kept.sum())
    _check_side(x, len(taps), len(exponents))
    product = x.new_ones(x.shape[:2])  # (B, C)
    for level, exponent in enumerate(exponents):
        similarity, contrast = _ssim_and_contrast(x, y, taps, data_range, k, False)
        last = level == len(exponents) - 1
        product = product * _power(similarity if last else contrast, exponent)
        if not last:
            x, y = _halved(x), _halved(y)
    return product.mean(1)


def ms_ssim_auto(x: Tensor, y: Tensor, *, data_range: float = 1.0) -> Tensor:
    """`ms_ssim` with as many of the five scales as fit the pictures, (B,)."""
    return ms_ssim(x, y, data_range=data_range, reduce_levels=True)


def levels_that_fit(size: Sequence[int], window: int = 11, most: int = len(MS_WEIGHTS)) -> int:
    """How many scales MS-SSIM can take of pictures of so many pixels a side: the short one exceeds (window-1) 2^(n-1).

    Zero where not even one fits.
    """
    return sum(min(size) > _needed(window, level) for level in range(1, most + 1))


def _needed(window: int, levels: int) -> int:
    """The side that pictures must exceed; for one level, that is to hold the window once."""
    return (window - 1) * 2 ** (levels - 1)


def _check_side(x: Tensor, window: int, levels: int) -> None:
    side, needed = min(x.shape[2:]), _needed(window, levels)
    if x.ndim not in (4, 5):
        raise BadInput(f"SSIM compares pictures (B, C, H, W); these are {tuple(x.shape)}.")
    if side <= needed and levels == 1:
        raise BadInput(f"SSIM with a window of {window} needs pictures of {window} pixels a side; these have {side}.")
    if side <= needed:
        fit = levels_that_fit(x.shape[2:], window, levels)
        raise BadInput(
            f"MS-SSIM with {levels} scales needs pictures of {needed + 1} pixels a side; these have {side}, "
            f"which {'is enough for ' + str(fit) if fit else 'is below the window of ' + str(window)}."
        )


def _taps(window: int, sigma: float | None, kernel: Tensor | None, like: Tensor) -> Tensor:
    """The window along one axis, (n,), of the number type of the pictures."""
    count = window if kernel is None else kernel.numel()
    if count < 1 or count % 2 == 0:
        raise BadInput(f"The window of SSIM has an odd number of pixels; {count} was given.")
    if kernel is not None:
        return kernel.flatten().to(like)
    if sigma is None:
        return like.new_full((window,), 1 / window)
    if not sigma > 0:
        raise BadInput(f"The spread of SSIM's window is above 0; it was {sigma}.")
    # In the pictures' own precision, as others do: rounding here shifts the gradient more than all rounding after.
    offsets = torch.arange(window, dtype=like.dtype, device=like.device) - window // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def _blurred(x: Tensor, taps: Tensor) -> Tensor:
    """Each channel under the window, one axis after the other, without padding."""
    channels, axes = x.shape[1], x.ndim - 2
    convolve = F.conv2d if axes == 2 else F.conv3d
    for axis in range(axes):
        shape = [1] * axes
        shape[axis] = len(taps)
        x = convolve(x, taps.view(1, 1, *shape).expand(channels, *[-1] * (axes + 1)), groups=channels)
    return x


def _ssim_and_contrast(
    x: Tensor, y: Tensor, taps: Tensor, data_range: float, k: tuple[float, float], sample_covariance: bool
) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean contrast-structure of each channel, both (B, C)."""
    c1, c2 = ((constant * data_range) ** 2 for constant in k)
    maps = torch.cat([x, y, x * x, y * y, x * y])
    mean_x, mean_y, xx, yy, xy = _blurred(maps, taps).chunk(5)
    count = len(taps) ** (x.ndim - 2)
    scale = count / (count - 1) if sample_covariance and count > 1 else 1.0
    variances = scale * (xx - mean_x**2) + scale * (yy - mean_y**2)
    contrast = (2 * scale * (xy - mean_x * mean_y) + c2) / (variances + c2)
    brightness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (brightness * contrast).flatten(2).mean(2), contrast.flatten(2).mean(2)


def _halved(x: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; an odd side gets a row of zeros on both ends, which count."""
    pool = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    return pool(x, 2, padding=[size % 2 for size in x.shape[2:]])


def _power(x: Tensor, exponent: Tensor) -> Tensor:
    """max(x, 0)^exponent, whose slope is 0 instead of infinite where x is not positive."""
    return torch.where(x > 0, torch.where(x > 0, x, 1.0) ** exponent, 0.0)
