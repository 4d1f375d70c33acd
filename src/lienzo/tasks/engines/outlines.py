"""What an outline, a mask (H, W) without empty sides, shows of a thing: its head, its top, its rim, the room below it.

Results are shares of the width and of the height.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.tasks.engines.cutouts import grown

THIN = 0.09  # of the longer side: what is no wider, such as a tail, is no part of the body
FACE = 0.8  # how much of itself a face covers when it is mirrored; an animal from the side covers less
TALL = 1.45  # height for a width of 1 from which on a symmetric thing is a figure and not a face
HEAD = (0.3, 0.6)  # least and greatest width of a whole figure's head
RIM = 0.7  # share of the width from which on a row is the rim of a vessel


def head_of(outline: Tensor) -> tuple[float, float, float, float]:
    """Left, top, width and height of the head: of a face nearly all, of a figure what is highest."""
    height, width = outline.shape
    mirrored = outline.flip(1)
    alike = float((outline & mirrored).sum() / (outline | mirrored).sum().clamp_min(1))
    if alike > FACE and height < TALL * width:
        top = top_of(outline)
        return 0.0, top, 1.0, 1.0 - top
    body = without_thin(outline, THIN)
    first = int(body.any(1).nonzero()[0, 0])
    runs = body[first + height // 20].nonzero()[:, 0] if body[first + height // 20].any() else body[first].nonzero()
    middle = float(runs.float().mean()) + 0.5
    below = min(height - 1, first + round(0.16 * height))
    across = run_around(body[below], int(middle))
    side = min(max(across, HEAD[0] * min(width, height)), HEAD[1] * width)
    return (middle - side / 2) / width, first / height, side / width, min(side / height, 1.0)


def top_of(outline: Tensor) -> float:
    """How high the middle of a thing reaches, between ears or above a saddle."""
    height, width = outline.shape
    inner = without_thin(outline, 0.04)[:, round(0.3 * width) : max(round(0.7 * width), round(0.3 * width) + 1)]
    covered = inner[:, inner.any(0)]
    return float(covered.float().argmax(0).float().median()) / height if covered.numel() else 0.0


def rim_of(outline: Tensor) -> float:
    """Where a vessel is open, below its handle."""
    wide = without_thin(outline, 0.06).float().mean(1) >= RIM
    return float(wide.float().argmax()) / len(outline) if wide.any() else top_of(outline)


def roomy_below(outline: Tensor) -> bool:
    """Whether something fits between the legs of a thing, or beside its trunk."""
    height = len(outline)
    return float(outline[round(0.7 * height) :].float().mean()) < 0.5


def without_thin(outline: Tensor, share: float) -> Tensor:
    """An outline without what is thinner than a share of its longer side; all of it where nothing would stay."""
    pixels = max(1, round(share * max(outline.shape) / 2))
    padded = torch.nn.functional.pad(outline, (pixels,) * 4)
    opened = grown(grown(padded, -pixels), pixels)[pixels:-pixels, pixels:-pixels]
    return opened if opened.any() else outline


def run_around(row: Tensor, middle: int) -> float:
    """Length of the covered run of a row (W,) that holds a pixel; 0 where it is not covered."""
    free = (~row).nonzero()[:, 0]
    if not row[min(max(middle, 0), len(row) - 1)]:
        return 0.0
    left = int(free[free < middle].max()) if (free < middle).any() else -1
    right = int(free[free > middle].min()) if (free > middle).any() else len(row)
    return float(right - left - 1)
