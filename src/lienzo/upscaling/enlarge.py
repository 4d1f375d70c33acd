"""Enlarging or cleaning pictures of any size with any upscaler, tile by tile, as a stream of events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress
from lienzo.imaging.tiles import tile_steps
from lienzo.upscaling.swinir import SwinIR

TILE = 192
"""Pictures above this side, in input pixels, are tiled by default."""


@dataclass(frozen=True)
class Enlarged:
    """The finished pictures: float (B, C, scale H, scale W) in [0, 1]."""

    images: Tensor = field(repr=False)


def enlarge(
    model: SwinIR, images: Tensor, *, tile: int | None = None, overlap: int = 16
) -> Iterator[Progress | Enlarged]:
    """Run an upscaler over pictures, one after the other, so that each is the same alone or in a batch.

    A grey network (`in_chans` 1) treats red, green and blue of a colour picture as three grey pictures: noise and
    JPEG damage sit in all of them, so mending the brightness alone would leave coloured specks.

    Args:
        model: a SwinIR; it is used in eval mode, without gradients, on the device where it is.
        images: float (B, 3, H, W) in [0, 1], or (B, 1, H, W) for a grey network.
        tile: largest side that the network gets at once, in input pixels, rounded down to whole windows; bounds
            the memory. None for 192.
        overlap: pixels that neighbouring tiles share at least and fade over, at most half a tile.

    Yields:
        Progress after each tile, counted over all pictures; last an Enlarged, clamped to [0, 1], on the device and
        in the type of `images`.

    Raises:
        BadInput: for the wrong number of channels, or a tile below one window.
    """
    if images.ndim != 4 or not images.numel() or images.shape[1] not in {3, model.in_chans}:
        raise BadInput(f"enlarge wants colour pictures (B, 3, H, W) in [0, 1], not {tuple(images.shape)}.")
    window = model.window_size
    side = (TILE if tile is None else tile) // window * window
    if side < window or overlap < 0:
        raise BadInput(f"A tile has at least the {window} pixels of the window, and its overlap at least 0.")
    return _enlarge(model, images, side, min(overlap, side // 2))


def _enlarge(model: SwinIR, images: Tensor, side: int, overlap: int) -> Iterator[Progress | Enlarged]:
    weight = model.conv_first.weight

    def run(part: Tensor) -> Tensor:
        training = model.training
        model.eval()
        with torch.no_grad():
            x = part.to(weight.device, weight.dtype).reshape(-1, model.in_chans, *part.shape[2:])
            y = model(x).to(images.device, images.dtype)
        model.train(training)
        return y.reshape(1, part.shape[1], *y.shape[2:])

    started, finished = time.monotonic(), []
    for index, image in enumerate(images.detach().split(1)):
        steps = tile_steps(run, image, tile=side, overlap=overlap, scale=model.scale)
        while True:
            try:
                event = next(steps)
            except StopIteration as end:
                finished.append(end.value.clamp_(0, 1))
                break
            done, total = index * event.total + event.done, len(images) * event.total
            yield Progress("enlarge", done, total, time.monotonic() - started, "tile")
    yield Enlarged(torch.cat(finished))
