"""Random changes of cutouts that a drawing should survive: flip, turn, shift, perspective, grey, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.guidance.draws import Generators, normal, uniform

LUMA = (0.299, 0.587, 0.114)
_CORNERS = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@dataclass(frozen=True)
class Augment:
    """clip-diffusion-art's augmentations in plain torch, for all cutouts of a batch at once.

    The flip, the affine map and the perspective are one 3x3 map each, so their product resamples only once. The
    four draws of noise of the original are one of the same total size.
    """

    flip: float = 0.5
    """Share of cutouts mirrored left to right."""
    degrees: float = 15.0
    """Largest turn."""
    translate: float = 0.1
    """Largest shift, as a share of the side."""
    perspective: float = 0.4
    """How far a corner may move inward, as a share of half the side."""
    perspective_share: float = 0.7
    """Share of cutouts seen in perspective."""
    gray: float = 0.15
    """Share of cutouts turned grey."""
    noise: float = 0.02
    """Standard deviation of the noise added."""
    edge: Literal["zeros", "border"] = "zeros"
    """What lies beyond the borders: black, or the colours of the borders."""

    def __call__(self, cuts: Tensor, batch: int, generators: Generators = None) -> Tensor:
        """Change (batch * n, 3, s, s), the n cutouts of one picture together, each in its own way."""
        n = len(cuts) // batch
        u = uniform(generators, batch, n, 14).flatten(0, 1)  # (batch * n, 14)
        maps = flip_maps(u[:, 0] < self.flip)
        maps = maps @ affine_maps((u[:, 1] * 2 - 1) * self.degrees, (u[:, 2:4] * 2 - 1) * self.translate)
        inward = u[:, 4:12].view(-1, 4, 2) * self.perspective * (u[:, 12] < self.perspective_share)[:, None, None]
        cuts = grayscale(warp(cuts, maps @ perspective_maps(inward), self.edge), u[:, 13] < self.gray)
        if self.noise:
            cuts = cuts + self.noise * normal(generators, batch, n, *cuts.shape[1:]).flatten(0, 1).to(cuts)
        return cuts


def grayscale(pictures: Tensor, which: Tensor | None = None) -> Tensor:
    """Grey by luma, (N, 3, H, W); only the pictures where `which` (N,) is true, if given."""
    luma = torch.tensor(LUMA).to(pictures).view(1, 3, 1, 1)
    gray = (pictures * luma).sum(1, keepdim=True).expand_as(pictures)
    return gray if which is None else torch.where(which.to(pictures.device).view(-1, 1, 1, 1), gray, pictures)


def flip_maps(which: Tensor) -> Tensor:
    """Maps (N, 3, 3) from where a pixel goes to where it comes from, mirrored where `which` (N,) is true."""
    maps = torch.eye(3).repeat(len(which), 1, 1)
    maps[:, 0, 0] = 1 - 2 * which.float()
    return maps


def affine_maps(degrees: Tensor, shift: Tensor) -> Tensor:
    """Maps (N, 3, 3) that turn by `degrees` (N,) about the centre, then shift by a share of the side (N, 2)."""
    angle = degrees * (math.pi / 180)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).view(-1, 3, 3)
    back = torch.eye(3).repeat(len(angle), 1, 1)
    back[:, :2, 2] = -2 * shift  # coordinates run over [-1, 1]
    return turn @ back


def perspective_maps(inward: Tensor) -> Tensor:
    """Maps (N, 3, 3) that shrink the square to the quadrilateral whose corners lie `inward` (N, 4, 2).

    Corners run clockwise from the top left; 0 is in place, 1 the centre.
    """
    corners = _CORNERS.expand_as(inward)
    x, y = (corners * (1 - inward)).unbind(-1)
    u, v = corners.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    solved = torch.linalg.solve(torch.cat([rows_u, rows_v], 1), torch.cat([u, v], 1))  # (N, 8)
    return torch.cat([solved, one[:, :1]], 1).view(-1, 3, 3)


def warp(pictures: Tensor, maps: Tensor, edge: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Resample (N, 3, H, W) bilinearly through maps (N, 3, 3) of coordinates in [-1, 1]; beyond lies `edge`."""
    n, _, h, w = pictures.shape
    ys = (torch.arange(h) * 2 + 1) / h - 1
    xs = (torch.arange(w) * 2 + 1) / w - 1
    at = torch.stack([xs.expand(h, w), ys[:, None].expand(h, w), torch.ones(h, w)], -1).view(1, h * w, 3)
    came = at @ maps.transpose(1, 2)  # (N, H*W, 3)
    grid = (came[..., :2] / came[..., 2:].clamp(min=1e-3)).view(n, h, w, 2)
    return F.grid_sample(pictures, grid.to(pictures), padding_mode=edge, align_corners=False)
