"""Encoders and decoders of small autoencoders, for pictures of any size and number of channels.

The dense ones keep pythae's names of tensors; the convolutional ones halve the picture several times, rounding up,
and their decoder goes back through the very same sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput

SMALLEST = 4  # pixels of the shorter side below which nothing is halved any more
GROUPS = 8

Shape = tuple[int, int, int]


class MlpEncoder(nn.Module):
    """Dense layers with ReLU.

    Args:
        shape: (C, H, W) of the pictures.
        latent: length of the code.
        hidden: widths of the layers; none makes the encoder linear.
        variational: whether there is a second output, the log variance.
    """

    def __init__(self, shape: Shape, latent: int, hidden: Sequence[int], variational: bool):
        super().__init__()
        widths = [prod(shape), *hidden]
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths))
        self.embedding = nn.Linear(widths[-1], latent)
        self.log_var = nn.Linear(widths[-1], latent) if variational else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pictures (B, C, H, W) in [0, 1] to mean and log variance, each (B, latent)."""
        h = x.flatten(1)
        for layer in self.layers:
            h = layer(h)
        return self.embedding(h), None if self.log_var is None else self.log_var(h)


class MlpDecoder(nn.Module):
    """Dense layers with ReLU, the last one with a sigmoid, or linear."""

    def __init__(self, shape: Shape, latent: int, hidden: Sequence[int], linear: bool):
        super().__init__()
        self.shape = shape
        widths = [latent, *hidden]
        layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)]
        last = nn.Linear(widths[-1], prod(shape))
        self.layers = nn.ModuleList([*layers, nn.Sequential(last, *([] if linear else [nn.Sigmoid()]))])

    def forward(self, z: Tensor) -> Tensor:
        """Codes (B, latent) to pictures (B, C, H, W)."""
        for layer in self.layers:
            z = layer(z)
        return z.unflatten(1, self.shape)


class ConvEncoder(nn.Module):
    """Strided convolutions.

    Args:
        shape: (C, H, W) of the pictures.
        latent: length of the code, or with `spatial` its channels.
        width: channels of the first level, a multiple of 8; doubled at the next two.
        levels: how often the picture is halved; None for as often as keeps 4 pixels.
        variational: whether there is a second output, the log variance.
        spatial: the code is a map.
    """

    def __init__(
        self, shape: Shape, latent: int, width: int, levels: int | None, variational: bool, spatial: bool = False
    ):
        super().__init__()
        self.sizes = halvings(shape[1:], levels)
        widths = channels(shape[0], width, len(self.sizes) - 1)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(GROUPS, b), nn.SiLU(),
                nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(GROUPS, b), nn.SiLU(),
            )
            for a, b in pairwise(widths)
        )  # fmt: skip
        self.spatial = spatial
        length = widths[-1] if spatial else widths[-1] * prod(self.sizes[-1])
        self.embedding = nn.Linear(length, latent)
        self.log_var = nn.Linear(length, latent) if variational else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pictures (B, C, H, W) in [0, 1] to mean and log variance, each (B, latent) or a map's numbers in a row."""
        h = 2 * x - 1
        for level in self.levels:
            h = level(h)
        if self.spatial:
            return self.embedding(h.movedim(1, -1)).movedim(-1, 1).flatten(1), None
        h = h.flatten(1)
        return self.embedding(h), None if self.log_var is None else self.log_var(h)


class ConvDecoder(nn.Module):
    """From a code back through the sizes of `ConvEncoder`; each doubling is a convolution whose channels become
    pixels, which costs a quarter of one at the larger size."""

    def __init__(self, shape: Shape, latent: int, width: int, levels: int | None, spatial: bool = False):
        super().__init__()
        self.sizes = halvings(shape[1:], levels)
        widths = channels(shape[0], width, len(self.sizes) - 1)
        self.start = (widths[-1], *self.sizes[-1])
        self.spatial, self.latent = spatial, latent
        self.enter = nn.Linear(latent, widths[-1] if spatial else prod(self.start))
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(GROUPS, b), nn.SiLU(),
                nn.Conv2d(b, 4 * a, 3, padding=1), nn.PixelShuffle(2),
            )
            for a, b in list(pairwise(widths))[::-1]
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        """Codes (B, latent), or a map's numbers in a row, to pictures (B, C, H, W) in [0, 1]."""
        if self.spatial:
            codes = z.unflatten(1, (self.latent, *self.sizes[-1]))
            h = self.enter(codes.movedim(1, -1)).movedim(-1, 1)
        else:
            h = self.enter(z).unflatten(1, self.start)
        for level, (height, width) in zip(self.levels, self.sizes[-2::-1], strict=True):
            h = level(F.silu(h))[:, :, :height, :width]
        return h.sigmoid()


def halvings(size: Sequence[int], levels: int | None) -> list[tuple[int, int]]:
    """(H, W) of each level, the picture's first.

    Raises:
        BadInput: so many halvings leave nothing to halve.
    """
    height, width = size
    sizes = [(height, width)]
    while min(height, width) > SMALLEST if levels is None else len(sizes) <= levels:
        if max(height, width) == 1:
            raise BadInput(f"A picture of {size[1]}x{size[0]} pixels cannot be halved {levels} times.")
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    if len(sizes) == 1:
        raise BadInput(
            f"The convolutional network needs pictures of more than {SMALLEST} pixels a side; {size[1]}x{size[0]} is "
            "too small. Use the dense one (mlp)."
        )
    return sizes


def channels(first: int, width: int, levels: int) -> list[int]:
    """Channels of the picture and of each level.

    Raises:
        BadInput: the width is no multiple of 8.
    """
    if width % GROUPS:
        raise BadInput(f"The width of the convolutional network must be a multiple of {GROUPS}; {width} is not.")
    return [first, *(width * min(2**level, 4) for level in range(levels))]
