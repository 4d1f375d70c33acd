"""Canvases of cells, each of one colour: squares, bricks, hexagons, triangles, diamonds and knitted stitches."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.draws import Generators, normal
from lienzo.guidance.ops import clamp_with_grad

Tiling = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Points (x, y), measured in cells, to the column and the row of the cell that each lies in."""
SUBPIXELS = 8  # a side: coverage is exact to 1/64 of a pixel
STRIP = 4_000_000  # points looked at together, which bounds the memory
COARSEST = 4  # patches across, at least, of the coarsest layer
FINER = 0.6  # weight of a layer, over that of the next coarser one
HIGH = math.sqrt(3) / 2
"""Height of an equilateral triangle with sides of one."""


class CellCanvas:
    """Cells of one colour each that tile the picture; pixels on an edge are mixed by the area that each cell covers.

    What is optimised are layers, from a few large soft patches to the single cells. A cell's colour is their weighted
    sum where it lies, and finer layers weigh less: neighbours change together, where cells on their own give grain.

    Args:
        batch, height, width: of the pictures.
        cells: across the width.
        start: (1 or B, 3, H, W) in [0, 1]; each cell takes its mean colour. Grey with a little noise without it.
        generators: where the noise is drawn.
        device: where the parameters lie.
    """

    lr = 0.035

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        *,
        cells: int = 32,
        start: Tensor | None = None,
        generators: Generators = None,
        device: torch.device | str = "cpu",
    ):
        if not 1 <= cells <= 1024:
            raise BadInput(f"A canvas of cells has 1 to 1024 of them across, not {cells}.")
        self.shape = (height, width)
        index, share, count = coverage(self.tile, height, width, width / min(cells, width))
        self.index, self.share = index.to(device), share.to(device)
        if start is None:
            colours = 0.5 + 0.08 * normal(generators, batch, count, 3).to(device)
        else:
            colours = self._means(start.to(device).expand(batch, 3, height, width), count)
        self.first = colours.clamp(0, 1)  # (B, N, 3)
        self.middles = self._middles(count)
        sizes: list[tuple[int, ...]] = [(count,)]  # of the layers, the finest first
        across = min(cells, width) // 2
        while across >= COARSEST:
            sizes.append((max(round(across * height / width), 1), across))
            across //= 2
        self.layers = [torch.zeros(batch, 3, *size, device=device, requires_grad=True) for size in sizes]
        self.weights = [FINER**finer for finer in reversed(range(len(sizes)))]

    @staticmethod
    def tile(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """A `Tiling`; here squares in rows and columns."""
        return x.floor(), y.floor()

    def render(self) -> Tensor:
        colours = clamp_with_grad(self.colours(), 0.0, 1.0)
        pixels = (colours[:, self.index] * self.share[..., None]).sum(2)  # (B, H*W, 3)
        return pixels.transpose(1, 2).unflatten(2, self.shape).clamp(0, 1)

    def parameters(self) -> list[Tensor]:
        return self.layers

    def project(self) -> None:
        """Put the colours back into [0, 1], by the layer of single cells."""
        with torch.no_grad():
            colours = self.colours()
            self.layers[0] -= (colours - colours.clamp(0, 1)).transpose(1, 2) / self.weights[0]

    def colours(self) -> Tensor:
        """Of the cells, (B, N, 3)."""
        cells, *patches = (weight * layer for weight, layer in zip(self.weights, self.layers))
        for patch in patches:
            at = self.middles.expand(len(patch), -1, -1, -1)
            cells = cells + F.grid_sample(patch, at, padding_mode="border", align_corners=False)[:, :, 0]  # (B, 3, N)
        return self.first + cells.transpose(1, 2)

    def _middles(self, count: int) -> Tensor:
        """Where each cell lies, (1, 1, N, 2) as x and y over [-1, 1]."""
        xs, ys = ((torch.arange(n, device=self.share.device) * 2 + 1) / n - 1 for n in self.shape[::-1])
        grid = torch.stack([xs.expand(self.shape), ys[:, None].expand(self.shape)])[None]
        return self._means(grid, count)[:, None]

    def _means(self, start: Tensor, count: int) -> Tensor:
        flat, index, share = start.flatten(2).transpose(1, 2), self.index.flatten(), self.share[..., None].to(start)
        parts = (flat[:, :, None] * share).flatten(1, 2)
        sums = start.new_zeros(len(start), count, start.shape[1]).index_add_(1, index, parts)
        return sums / start.new_zeros(count).index_add_(0, index, share.flatten())[:, None]


def coverage(tiling: Tiling, height: int, width: int, side: float) -> tuple[Tensor, Tensor, int]:
    """How much of each pixel each cell covers.

    Args:
        tiling: the cells.
        side: of a cell, in pixels.

    Returns:
        For each of the H*W pixels the cells that it touches (H*W, M) and their shares of it (H*W, M), which sum to 1
        (rows are filled up by the pixel's first cell with a share of 0), and the number of cells.
    """
    rows = max(STRIP // (width * SUBPIXELS**2), 1)
    strips = [_pairs(tiling, top, min(rows, height - top), (height, width), side) for top in range(0, height, rows)]
    pixels, names, times = (torch.cat(parts) for parts in zip(*strips))
    found, cells = torch.unique(names, return_inverse=True)
    touched = torch.bincount(pixels, minlength=height * width)
    first = touched.cumsum(0) - touched
    place = torch.arange(len(pixels)) - first[pixels]
    index = cells[first][:, None].repeat(1, int(touched.max()))
    share = torch.zeros(index.shape)
    index[pixels, place] = cells
    share[pixels, place] = times.float() / SUBPIXELS**2
    return index, share, len(found)


def _pairs(tiling: Tiling, top: int, rows: int, size: tuple[int, int], side: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of the rows from `top`, names of cells that they touch, and how often, sorted by pixel: three (P,)."""
    height, width = size
    at = (torch.arange(SUBPIXELS, dtype=torch.float64) + 0.5) / SUBPIXELS
    xs = (torch.arange(width)[:, None] + at).flatten() / side
    ys = (torch.arange(top, top + rows)[:, None] + at).flatten() / side
    column, row = tiling(xs.expand(len(ys), -1), ys[:, None].expand(-1, len(xs)))
    reach = int(2 * (height + width) / side) + 4  # no column or row lies further out
    name = (row.long() + reach) * 2 * reach + column.long() + reach
    pixel = torch.arange(top * width, (top + rows) * width).view(rows, 1, width, 1)
    names = 4 * reach**2
    pairs, times = torch.unique(pixel * names + name.view(rows, SUBPIXELS, width, SUBPIXELS), return_counts=True)
    return pairs // names, pairs % names, times


class BrickCanvas(CellCanvas):
    """Squares of which every other row is shifted by half of one."""

    @staticmethod
    def tile(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        row = y.floor()
        return (x + 0.5 * (row % 2)).floor(), row


class HexagonCanvas(CellCanvas):
    """Regular hexagons, one wide, with a corner on top: the points nearest to each centre of a triangular lattice."""

    @staticmethod
    def tile(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        best = torch.full_like(x, torch.inf)
        column, row = torch.zeros_like(x), torch.zeros_like(y)
        above = (y / HIGH).floor()
        for r in (above, above + 1):
            shift = 0.5 * (r % 2)
            c = (x - shift).round()
            far = (x - c - shift).square() + (y - r * HIGH).square()
            near = far < best
            best, column, row = torch.where(near, far, best), torch.where(near, c, column), torch.where(near, r, row)
        return column, row


class TriangleCanvas(CellCanvas):
    """Equilateral triangles with sides of one, by turns on their base and on their tip."""

    @staticmethod
    def tile(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        row = (y / HIGH).floor()
        down = y / HIGH - row
        across = x + 0.5 * (row % 2)
        return (across - down / 2).floor() + (across + down / 2).floor(), row


class DiamondCanvas(CellCanvas):
    """Squares on their tip, one wide."""

    @staticmethod
    def tile(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x + y).floor(), (x - y).floor()


class KnitCanvas(CellCanvas):
    """Knitted stitches: columns of V shapes, one wide and two thirds high."""

    @staticmethod
    def tile(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        column = x.floor()
        return column, (1.5 * y + 1.5 * (x - column - 0.5).abs()).floor()
