"""Pictures of a data set as small autoencoders see them, and their answers as sheets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lienzo.data.sets import Pictures

LOOKED_AT = 4096  # pictures read at once to find out whether all are grey


def unit_pictures(images: Pictures, rows: np.ndarray, channels: int) -> Tensor:
    """Pictures of some rows in [0, 1]: (B, channels, S, S) float32; one channel where all are grey."""
    pixels = torch.from_numpy(np.ascontiguousarray(images[rows])[..., :channels].copy())
    return pixels.permute(0, 3, 1, 2).float() / 255


def all_grey(images: Pictures) -> bool:
    """Whether the colours of every pixel are equal."""
    for start in range(0, len(images), LOOKED_AT):
        part = images[np.arange(start, min(start + LOOKED_AT, len(images)))]
        if (part != part[..., :1]).any():
            return False
    return True


def spread_rows(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, evenly spread: files are often ordered by class."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def grid(pictures: Tensor, columns: int, gap: int = 1) -> np.ndarray:
    """Pictures (N, C, H, W) in [0, 1], of one or three channels, in rows on white: uint8 (H', W', 3)."""
    count, height, width = len(pictures), *pictures.shape[2:]
    rows = -(-count // columns)
    sheet = torch.ones(3, rows * (height + gap) + gap, columns * (width + gap) + gap)
    for place, picture in enumerate(pictures.detach().float().cpu().clamp(0, 1)):
        top, left = gap + place // columns * (height + gap), gap + place % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = picture
    return (sheet * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
