"""Encoding and decoding large pictures in tiles, without seams.

For VQGAN and KL autoencoders the result equals that of the whole picture. Two things look beyond a tile there: the
group norms, and attention at the smallest sizes. So the smallest sizes, which are cheap, run on the whole picture; each
larger size runs in tiles with a margin as wide as its convolutions reach, once for each norm to gather its statistics
over all tiles, and once more for the result. Of the whole picture only what enters a size is kept, which for Stable
Diffusion's decoder is a quarter of its largest map. The price is four to six times the work.

Any other first stage is run on overlapping tiles whose borders are faded into each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lienzo.autoencoders.convolutional import ConvolutionalStage
from lienzo.autoencoders.encoder_decoder import Decoder, Encoder, Normalise, Structure
from lienzo.autoencoders.first_stage import DiscreteStage, FirstStage
from lienzo.core.errors import BadInput
from lienzo.nn.normalisation import GroupNorm32, affine

Part = Callable[[Tensor, Normalise], Tensor]


@torch.no_grad()
def decode_tiled(
    stage: FirstStage, latents: Tensor, tile: int = 64, overlap: int | None = None, exact: bool = True
) -> Tensor:
    """As `stage.decode`, with memory for the network bounded by the tile.

    Args:
        stage: any first stage.
        latents: (B, channels, h, w).
        tile: side of a tile, in positions of the latent.
        overlap: how far faded tiles lie over each other, in positions of the latent; None for a quarter of a tile.
        exact: equal to decoding at once, where the network allows it, at four to six times the work; otherwise faded
            tiles, whose norms see one tile each, so that large surfaces may vary a little in colour.

    Returns:
        Images (B, 3, h factor, w factor) in about [-1, 1].

    Raises:
        BadInput: the tile or the overlap makes no sense.
    """
    overlap = _overlap(tile, overlap)
    if max(latents.shape[2:]) <= tile:
        return stage.decode(latents)
    if exact and isinstance(stage, ConvolutionalStage):
        return _decoded(stage.decoder, stage.to_decoder(latents), tile)
    return _faded(stage.decode, latents, tile, overlap, stage.factor)


@torch.no_grad()
def encode_tiled(
    stage: FirstStage,
    images: Tensor,
    tile: int = 64,
    overlap: int | None = None,
    exact: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """As `stage.encode`, with memory for the network bounded by the tile.

    Args:
        stage: any first stage.
        images: (B, 3, H, W) in [-1, 1]; H and W are multiples of the factor.
        tile, overlap: in positions of the latent, as for `decode_tiled`.
        exact: equal to encoding at once, where the network allows it; otherwise faded tiles, or for a discrete stage
            the middles of overlapping tiles.
        generator: draws from the distribution that a stage encodes to, once for the whole picture.

    Returns:
        Latents (B, channels, H / factor, W / factor).

    Raises:
        BadInput: the tile or the overlap makes no sense, or the size is no multiple of the factor.
    """
    overlap = _overlap(tile, overlap)
    height, width = images.shape[2:]
    if height % stage.factor or width % stage.factor:
        raise BadInput(
            f"Pictures are encoded in tiles when their sides are multiples of {stage.factor}; {width}x{height} are not."
        )
    if max(height, width) <= tile * stage.factor:
        return stage.encode(images, generator)
    if isinstance(stage, ConvolutionalStage):
        if exact:
            return stage.from_encoder(_encoded(stage.encoder, images, tile), generator)
        features = _faded(stage.encoder, images, tile, overlap, stage.factor, shrinks=True)
        return stage.from_encoder(features, generator)
    fade = not isinstance(stage, DiscreteStage)  # a mixture of two codes is no code
    encode = lambda part: stage.encode(part, generator)  # noqa: E731
    return _faded(encode, images, tile, overlap, stage.factor, shrinks=True, fade=fade)


def _overlap(tile: int, overlap: int | None) -> int:
    """The overlap, when it makes sense; a quarter of a tile where it is not given."""
    chosen = tile // 4 if overlap is None else overlap
    if tile < 1 or not 0 <= 2 * chosen <= tile:
        raise BadInput(f"Tiles overlap by at most half their side; a side of {tile} and an overlap of {chosen} do not.")
    return chosen


def _decoded(decoder: Decoder, z: Tensor, tile: int) -> Tensor:
    structure = decoder.structure
    x = decoder.enter(z)
    scale = 1
    for level in reversed(range(structure.levels - 1)):
        if not _local(structure, level):
            x = decoder.climb(x, level)
        else:
            x = _in_tiles(_climbing(decoder, level), x, tile * scale, _reach(structure, level, climbing=True), 2)
        scale *= 2
    if structure.levels > 1 and _local(structure, 0):
        return x
    return decoder.finish(x)


def _encoded(encoder: Encoder, images: Tensor, tile: int) -> Tensor:
    structure = encoder.structure
    x, scale = images, structure.factor
    for level in range(structure.levels - 1):
        if not _local(structure, level):
            x = encoder.descend(x, level)
        else:
            x = _in_tiles(_descending(encoder, level), x, tile * scale, _reach(structure, level, climbing=False), 0.5)
        scale //= 2
    return encoder.leave(x)


def _climbing(decoder: Decoder, level: int) -> Part:
    def part(x: Tensor, normalise: Normalise) -> Tensor:
        x = decoder.climb(x, level, normalise)
        return decoder.finish(x, normalise) if level == 0 else x

    return part


def _descending(encoder: Encoder, level: int) -> Part:
    return lambda x, normalise: encoder.descend(x, level, normalise)


def _local(structure: Structure, level: int) -> bool:
    """Whether nothing in a level but its norms looks beyond the reach of its convolutions."""
    return not structure.attends(level) or structure.attn_type == "none"


def _reach(structure: Structure, level: int, climbing: bool) -> int:
    """How far a level's convolutions see, in positions of what enters it; even."""
    if climbing:
        positions = structure.resamp_with_conv + 2 * (structure.num_res_blocks + 1) + (level == 0)
        return 2 * (-(-positions // 4))  # two positions of what comes out for one that enters
    positions = (level == 0) + 2 * structure.num_res_blocks + structure.resamp_with_conv
    return 2 * (-(-positions // 2))


class _Window(NamedTuple):
    """A tile along one axis: its core from `start` to `end`, read from `low` to `high`."""

    start: int
    end: int
    low: int
    high: int

    def core(self, scale: float) -> slice:
        """The core within what was read, after a change of size."""
        return slice(int((self.start - self.low) * scale), int((self.end - self.low) * scale))

    def place(self, scale: float) -> slice:
        """The core within the whole, after a change of size."""
        return slice(int(self.start * scale), int(self.end * scale))


def _windows(length: int, tile: int, margin: int) -> list[_Window]:
    starts = range(0, length, tile)
    ends = [min(start + tile, length) for start in starts]
    return [_Window(s, e, max(s - margin, 0), min(e + margin, length)) for s, e in zip(starts, ends)]


def _tiles(x: Tensor, tile: int, margin: int) -> Iterator[tuple[_Window, _Window]]:
    columns = _windows(x.shape[3], tile, margin)
    for row in _windows(x.shape[2], tile, margin):
        for column in columns:
            yield row, column


class _Measured(Exception):
    """A tile has reached the norm that is being measured."""


class _Statistics:
    """Norms by the statistics of all tiles; the first norm whose statistics are not yet known is measured."""

    def __init__(self) -> None:
        self.known: dict[GroupNorm32, tuple[Tensor, Tensor]] = {}
        self.measured: GroupNorm32 | None = None
        self.count = 0
        self.sums: list[Tensor] = []
        self.window: tuple[_Window, _Window]

    def __call__(self, norm: GroupNorm32, x: Tensor) -> Tensor:
        if norm in self.known:
            factor, offset = self.known[norm]
            return torch.addcmul(offset, x, factor)
        row, column = self.window
        scale = x.shape[3] / (column.high - column.low)
        core = x[:, :, row.core(scale), column.core(scale)]
        grouped = core.reshape(len(x), norm.num_groups, -1).float()
        variance, mean = torch.var_mean(grouped, dim=-1, correction=0)
        count, mean, variance = grouped.shape[-1], mean.double(), variance.double()
        sums = [count * mean, count * (variance + mean.square())]
        self.sums = [a + b for a, b in zip(self.sums, sums)] if self.measured else sums
        self.count, self.measured = (self.count if self.measured else 0) + count, norm
        raise _Measured

    def settle(self, x: Tensor) -> bool:
        """Make the measured norm known. False where nothing was measured."""
        norm = self.measured
        if norm is None:
            return False
        mean = self.sums[0] / self.count  # (B, groups)
        spread = (self.sums[1] / self.count - mean.square()).clamp_min(0)
        factor, offset = affine(mean, spread, norm.weight, norm.bias, norm.eps)
        self.known[norm] = (factor.to(x.dtype), offset.to(x.dtype))
        self.measured = None
        return True


def _in_tiles(part: Part, x: Tensor, tile: int, margin: int, scale: float) -> Tensor:
    """`part(x)` in tiles, with the norms of the whole."""
    statistics = _Statistics()
    if len(_windows(x.shape[2], tile, margin)) * len(_windows(x.shape[3], tile, margin)) == 1:
        return part(x, lambda norm, features: norm(features))
    result = x.new_empty(0)
    while True:
        for row, column in _tiles(x, tile, margin):
            statistics.window = (row, column)
            try:
                made = part(x[:, :, row.low : row.high, column.low : column.high], statistics)
            except _Measured:
                continue
            if not result.numel():
                size = (int(x.shape[2] * scale), int(x.shape[3] * scale))
                result = made.new_empty(len(x), made.shape[1], *size)
            result[:, :, row.place(scale), column.place(scale)] = made[:, :, row.core(scale), column.core(scale)]
        if not statistics.settle(x):
            return result


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where overlapping tiles begin; the last one ends at the end."""
    if length <= tile:
        return [0]
    return [*range(0, length - tile, tile - overlap), length - tile]


def _weights(length: int, overlap: int, first: bool, last: bool, fade: bool) -> Tensor:
    """Weights (length,) of a tile: over the middle half of an overlap they rise from 0 to 1, or step there."""
    weights = torch.ones(length)
    if not overlap:
        return weights
    middle = overlap // 2
    rising = (2 * (torch.arange(overlap) + 0.5) / overlap - 0.5).clamp(1e-6, 1)
    before = rising if fade else (torch.arange(overlap) >= middle).float()
    after = rising.flip(0) if fade else (torch.arange(overlap) < middle).float()
    weights[:overlap] *= 1 if first else before
    weights[length - overlap :] *= 1 if last else after
    return weights


def _faded(
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    tile: int,
    overlap: int,
    factor: int,
    *,
    shrinks: bool = False,
    fade: bool = True,
) -> Tensor:
    """`run` on overlapping tiles of x; `tile` and `overlap` count positions of the latent."""
    inside, outside = (factor, 1) if shrinks else (1, factor)
    height, width = (side // inside for side in x.shape[2:])
    rows, columns = _starts(height, tile, overlap), _starts(width, tile, overlap)
    total = weight = x.new_empty(0)
    for top in rows:
        for left in columns:
            part = x[:, :, top * inside : (top + tile) * inside, left * inside : (left + tile) * inside]
            made = run(part)
            if not total.numel():
                total = made.new_zeros(len(x), made.shape[1], height * outside, width * outside)
                weight = made.new_zeros(1, 1, height * outside, width * outside)
            h, w = made.shape[2:]
            fades = overlap * outside
            down = _weights(h, min(fades, h), top == 0, top == rows[-1], fade)
            across = _weights(w, min(fades, w), left == 0, left == columns[-1], fade)
            share = (down[:, None] * across).to(made)
            place = (..., slice(top * outside, top * outside + h), slice(left * outside, left * outside + w))
            if fade:
                total[place] += share * made
                weight[place] += share
            else:
                total[place] = torch.where(share > 0, made, total[place])
    return total.div_(weight) if fade else total
