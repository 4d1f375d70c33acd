"""Peak signal-to-noise ratio in its two senses: one figure a picture, or one for all pixels together."""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.core.errors import BadInput


def check_pair(x: Tensor, y: Tensor, data_range: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two batches of pictures that can be compared, (B, C, H, W), as floating point of at least 32 bits.

    Raises:
        BadInput: they differ in shape, hold no pictures, or the range is not positive.
    """
    if x.shape != y.shape:
        raise BadInput(f"Only pictures of one shape can be compared; these are {tuple(x.shape)} and {tuple(y.shape)}.")
    if x.ndim < 3 or 0 in x.shape:
        raise BadInput(f"Pictures to compare come as (B, C, H, W); these are {tuple(x.shape)}.")
    if not data_range > 0:
        raise BadInput(f"The data range of pictures is above 0, e.g. 1 or 255; it was {data_range}.")
    kind = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(kind), y.to(kind)


def psnr(x: Tensor, y: Tensor, *, data_range: float = 1.0) -> Tensor:
    """PSNR of each picture, (B,) in dB: 10 log10(range^2 / mse). Equal pictures have infinity. Differentiable.

    Args:
        x, y: (B, C, H, W), of any number type.
        data_range: the difference between white and black, e.g. 1 or 255.
    """
    x, y = check_pair(x, y, data_range)
    return _decibels((x - y).square().flatten(1).mean(1), data_range)


def pooled_psnr(x: Tensor, y: Tensor, *, data_range: float = 1.0) -> Tensor:
    """PSNR of the squared error over all pictures, () in dB: never above the mean of `psnr`; arguments as there."""
    x, y = check_pair(x, y, data_range)
    return _decibels((x - y).square().mean(), data_range)


def _decibels(error: Tensor, data_range: float) -> Tensor:
    return -10 * torch.log10(error / data_range**2)
