"""Running a picture function tile by tile: memory bounded by the tile, no seams between tiles."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress

BLENDS = ("smooth", "uniform")


def run_tiled(
    fn: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    tile: int,
    overlap: int,
    scale: int,
    window: int = 1,
    blend: str = "smooth",
    progress: Callable[[Progress], None] | None = None,
) -> Tensor:
    """Apply a function to a picture in overlapping tiles and blend the results.

    Args:
        fn: (B, C, h, w) to (B, D, scale h, scale w), for any h, w up to `tile` that are multiples of `window`.
        image: (B, C, H, W), any size from one pixel on.
        tile: largest side that `fn` ever gets, in input pixels; a multiple of `window`.
        overlap: pixels that neighbouring tiles share at least.
        scale: enlargement by `fn`, a whole number.
        window: a side shorter than `tile` is extended by repeating its edge to the next multiple, and cut again.
        blend: 'smooth' spreads the tiles evenly and fades them with a raised cosine over the overlap; the weights
            sum to 1 everywhere. 'uniform' places them at steps of tile - overlap and takes the plain mean, like
            SwinIR's command line, which leaves visible seams.
        progress: called after each tile.

    Returns:
        (B, D, scale H, scale W). The only tensor of that size that is made is this one.

    Raises:
        BadInput: sizes that do not fit together.
    """
    steps = tile_steps(fn, image, tile=tile, overlap=overlap, scale=scale, window=window, blend=blend)
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(event)


def tile_steps(
    fn: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    tile: int,
    overlap: int,
    scale: int,
    window: int = 1,
    blend: str = "smooth",
) -> Generator[Progress, None, Tensor]:
    """`run_tiled` as a generator: yields a Progress after each tile; its return value is the result."""
    check(image, tile, overlap, window, blend)
    started = time.monotonic()
    batch, _, height, width = image.shape
    sides = [min(tile, math.ceil(size / window) * window) for size in (height, width)]
    starts = [tile_starts(size, side, overlap, blend) for size, side in zip((height, width), sides)]
    weights = [
        tile_weights(max(size, side), side, overlap, places, scale, blend)
        for size, side, places in zip((height, width), sides, starts)
    ]
    total = len(starts[0]) * len(starts[1])
    result: Tensor | None = None
    for i, top in enumerate(starts[0]):
        for j, left in enumerate(starts[1]):
            part = image[:, :, top : top + sides[0], left : left + sides[1]]
            part = F.pad(part, (0, sides[1] - part.shape[3], 0, sides[0] - part.shape[2]), mode="replicate")
            done = fn(part)
            if done.shape[2:] != (sides[0] * scale, sides[1] * scale):
                shapes = f"{tuple(part.shape[2:])} into {tuple(done.shape[2:])}"
                raise BadInput(f"The tiles should grow {scale} times, but they were turned from {shapes}.")
            if result is None:
                result = done.new_zeros(batch, done.shape[1], height * scale, width * scale)
            weight = (weights[0][i][:, None] * weights[1][j]).to(done)
            place = result[:, :, top * scale :, left * scale :][:, :, : done.shape[2], : done.shape[3]]
            place += (done * weight)[:, :, : place.shape[2], : place.shape[3]]
            yield Progress("tiles", i * len(starts[1]) + j + 1, total, time.monotonic() - started, "tile")
    assert result is not None
    return result


def check(image: Tensor, tile: int, overlap: int, window: int, blend: str) -> None:
    """Raise BadInput with one sentence where the sizes do not fit together."""
    if image.ndim != 4 or not image.numel():
        raise BadInput(f"Tiles are cut from pictures (B, C, H, W), not {tuple(image.shape)}.")
    if tile < 1 or window < 1 or tile % window:
        raise BadInput(f"The tile of {tile} pixels is not a multiple of the window of {window} pixels.")
    if not 0 <= overlap < tile:
        raise BadInput(f"The overlap of {overlap} pixels is not from 0 to {tile - 1}, below the tile of {tile}.")
    if blend not in BLENDS:
        raise BadInput(f"There is no blend '{blend}'; choose one of {', '.join(BLENDS)}.")


def tile_starts(size: int, tile: int, overlap: int, blend: str) -> list[int]:
    """First pixels of the tiles along one side; the last tile ends with the side."""
    if size <= tile:
        return [0]
    if blend == "uniform":
        return [*range(0, size - tile, tile - overlap), size - tile]
    count = math.ceil((size - overlap) / (tile - overlap))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def tile_weights(size: int, tile: int, overlap: int, starts: list[int], scale: int, blend: str) -> list[Tensor]:
    """The weight of each output pixel of each tile along one side, float64; they sum to 1 at every pixel."""
    length = tile * scale
    fade = min(overlap, tile // 2) * scale if blend == "smooth" else 0
    window = torch.ones(length, dtype=torch.float64)
    if fade:
        ramp = torch.sin((torch.arange(fade, dtype=torch.float64) + 0.5) / fade * math.pi / 2) ** 2
        window[:fade] = ramp
        window[-fade:] *= ramp.flip(0)
    total = torch.zeros(size * scale, dtype=torch.float64)
    for start in starts:
        total[start * scale : start * scale + length] += window
    return [window / total[start * scale : start * scale + length] for start in starts]
