"""Small operations with gradients of their own, as VQGAN+CLIP uses them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _ReplaceGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, path: Tensor) -> Tensor:
        ctx.shape = path.shape
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad.sum_to_size(ctx.shape)


class _ClampWithGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.low, ctx.high = low, high
        ctx.save_for_backward(x)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        outside = x - x.clamp(ctx.low, ctx.high)
        # A step goes against the gradient: the same sign as `outside` leads back into the range.
        return grad * (grad * outside >= 0), None, None


def replace_grad(value: Tensor, path: Tensor) -> Tensor:
    """`value` going forward, the gradient of `path` going backward (straight-through, Bengio et al. 2013).

    Args:
        value: any shape; gets no gradient.
        path: a shape that broadcasts to that of `value`.
    """
    return _ReplaceGrad.apply(value, path)


def clamp_with_grad(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Clamp whose gradient is kept inside the range, and outside it when a step would lead back in."""
    return _ClampWithGrad.apply(x, low, high)


def vector_quantize(z: Tensor, codebook: Tensor) -> Tensor:
    """The nearest code of each vector, with a straight-through gradient to `z`.

    Args:
        z: (..., D), channels last.
        codebook: (N, D).
    """
    distance = z.square().sum(-1, keepdim=True) + codebook.square().sum(-1) - 2 * z @ codebook.T  # (..., N)
    return replace_grad(codebook[distance.argmin(-1)], z)


def lanczos_kernel(ratio: float, lobes: int = 2) -> Tensor:
    """The normalised Lanczos window for shrinking by `ratio` (output over input, below 1): (taps,)."""
    reach = math.ceil(lobes / ratio + 1)
    half = ratio * torch.arange(1, reach - 1, dtype=torch.float64)
    at = torch.cat([-half.flip(0), torch.zeros(1, dtype=torch.float64), half])
    window = torch.where(at.abs() < lobes, torch.sinc(at) * torch.sinc(at / lobes), torch.zeros_like(at))
    return (window / window.sum()).float()


def resample(picture: Tensor, size: tuple[int, int], align_corners: bool = True) -> Tensor:
    """Resize (B, C, H, W) to (B, C, *size): a Lanczos low-pass on each side that shrinks, then bicubic."""
    b, c, h, w = picture.shape
    planes = picture.reshape(b * c, 1, h, w)
    for side, (old, new) in enumerate(zip((h, w), size)):
        if new >= old:
            continue
        kernel = lanczos_kernel(new / old).to(planes)
        pad = (len(kernel) - 1) // 2
        shape = (1, 1, -1, 1) if side == 0 else (1, 1, 1, -1)
        padding = (0, 0, pad, pad) if side == 0 else (pad, pad, 0, 0)
        planes = F.conv2d(F.pad(planes, padding, "reflect"), kernel.view(shape))
    planes = planes.reshape(b, c, h, w)
    return F.interpolate(planes, size, mode="bicubic", align_corners=align_corners)
