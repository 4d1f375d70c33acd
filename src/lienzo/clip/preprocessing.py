"""Pictures as CLIP wants them: short side resized (bicubic, anti-aliased), centre crop, normalised. Differentiable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.clip.picture_settings import CLIP_MEAN, CLIP_STD
from lienzo.core.errors import BadInput


def normalise(images: Tensor, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> Tensor:
    """Subtract channel means and divide by deviations, CLIP's unless given: (..., 3, H, W) in [0, 1] to about
    [-2, 2.2]."""
    means = torch.tensor(mean, device=images.device, dtype=images.dtype).view(3, 1, 1)
    deviations = torch.tensor(std, device=images.device, dtype=images.dtype).view(3, 1, 1)
    return (images - means) / deviations


def preprocess(images: Tensor, size: int) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] of any size to a CLIP's input (B, 3, size, size), with gradients.

    Raises:
        BadInput: not RGB images with a batch axis.
    """
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise BadInput(f"CLIP reads images of shape (B, 3, H, W), not {tuple(images.shape)}.")
    return normalise(centre_crop(resize_short_side(images, size), size))


def resize_short_side(images: Tensor, size: int) -> Tensor:
    """Resize so that the short side has `size` pixels, as Pillow's bicubic does; values stay in [0, 1]."""
    height, width = images.shape[-2:]
    short = min(height, width)
    if short == size:
        return images
    # Pillow cuts bicubic's overshoot at edges off after the horizontal pass and again after the vertical one.
    for new in ((height, size * width // short), (size * height // short, size * width // short)):
        images = F.interpolate(images, new, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return images


def centre_crop(images: Tensor, size: int) -> Tensor:
    """The middle `size` x `size` pixels; both sides must have as many."""
    height, width = images.shape[-2:]
    top, left = round((height - size) / 2), round((width - size) / 2)
    return images[..., top : top + size, left : left + size]
