"""Poses: a drawing a little turned, smaller and off the middle, so that no two need be the same."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

TURN = 8.0  # degrees at most
SHIFT = 0.07  # of half the side, at most
SMALLEST = 0.86


def random_poses(count: int, generator: Generator | None = None, *, largest: float = 1.0) -> Tensor:
    """Turn in degrees, scale up to `largest`, shift to the left and up in half sides: (count, 4)."""
    share = torch.rand(count, 4, generator=generator)
    low = torch.tensor([-TURN, SMALLEST, -SHIFT, -SHIFT])
    high = torch.tensor([TURN, largest, SHIFT, SHIFT])
    return low + share * (high - low)


def moved(images: Tensor, poses: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) in [-1, 1] on white, each in its pose (B, 4)."""
    turn, scale, left, up = poses.to(images).unbind(1)
    cos, sin = torch.cos(turn * (math.pi / 180)) / scale, torch.sin(turn * (math.pi / 180)) / scale
    theta = torch.stack([torch.stack([cos, -sin, left], 1), torch.stack([sin, cos, up], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    ink = F.grid_sample(1 - images, grid, mode="bicubic", align_corners=False)  # what comes in from outside is white
    return 1 - ink.clamp(0, 2)
