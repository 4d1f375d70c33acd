from __future__ import annotations

import math

import pytest
import torch

from lienzo.guidance import canvas_cells
from lienzo.guidance.canvas_cells import (
    BrickCanvas,
    CellCanvas,
    DiamondCanvas,
    HexagonCanvas,
    KnitCanvas,
    TriangleCanvas,
    coverage,
)

KINDS = [CellCanvas, BrickCanvas, HexagonCanvas, TriangleCanvas, DiamondCanvas, KnitCanvas]
AREAS = [1.0, 1.0, math.sqrt(3) / 2, math.sqrt(3) / 4, 0.5, 2 / 3]


@pytest.mark.parametrize(("kind", "area"), list(zip(KINDS, AREAS)))
def test_cells_tile_the_picture(kind: type[CellCanvas], area: float) -> None:
    """Every pixel is covered once, and cells away from the border have the area of their shape, in side squared."""
    side = 12.0
    index, share, count = coverage(kind.tile, 84, 96, side)
    torch.testing.assert_close(share.sum(1), torch.ones(84 * 96))
    areas = torch.zeros(count).index_add_(0, index.flatten(), share.flatten())
    inner = torch.ones(count, dtype=torch.bool)
    grid = index.view(84, 96, -1)
    for edge in (grid[0], grid[-1], grid[:, 0], grid[:, -1]):
        inner[edge.flatten()] = False
    assert inner.sum() > 10
    torch.testing.assert_close(areas[inner] / side**2, torch.full((int(inner.sum()),), area), rtol=0.02, atol=0)


def test_hexagons_are_round() -> None:
    """No point of a hexagon is further from its middle than its corners are, which no other tiling here keeps."""
    index, share, count = coverage(HexagonCanvas.tile, 80, 80, 16.0)
    ys, xs = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
    places = torch.stack([xs, ys], -1).view(-1, 2)
    whole = share[:, 0] == 1
    middle = int(index[40 * 80 + 40, 0])
    mine = places[whole & (index[:, 0] == middle)]
    reach = (mine - mine.mean(0)).norm(dim=1).max()
    assert reach <= 16 / math.sqrt(3)
    assert count > 20


def test_coverage_does_not_depend_on_the_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = coverage(HexagonCanvas.tile, 20, 14, 4.5)
    monkeypatch.setattr(canvas_cells, "STRIP", 3 * 14 * 64)
    strips = coverage(HexagonCanvas.tile, 20, 14, 4.5)
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(whole, strips))


def test_each_cell_has_one_colour() -> None:
    canvas = CellCanvas(1, 8, 8, cells=2)
    picture = canvas.render().detach()[0].view(3, 2, 4, 2, 4)
    assert (picture == picture[:, :, :1, :, :1]).all()
    assert canvas.colours().shape == (1, 4, 3)
    start = torch.rand(1, 3, 8, 8)
    means = CellCanvas(1, 8, 8, cells=2, start=start).render()
    torch.testing.assert_close(means[0, :, 0, 0], start[0, :, :4, :4].mean((1, 2)))


def test_there_are_no_more_cells_than_pixels() -> None:
    start = torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(CellCanvas(1, 5, 6, cells=1000, start=start).render(), start)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_change_together(kind: type[CellCanvas]) -> None:
    """A step along a gradient without any order changes large patches; the single cells alone would give grain."""
    canvas = kind(1, 64, 96, cells=32, start=torch.full((1, 3, 64, 96), 0.5))
    before = canvas.render().detach()
    optimiser = torch.optim.Adam(canvas.parameters(), lr=canvas.lr)
    noise = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    (canvas.render() * noise).sum().backward()
    optimiser.step()
    change = (canvas.render().detach() - before).flatten(0, 2)
    beside = torch.stack([change[:, :-6].flatten(), change[:, 6:].flatten()])  # two cells away
    assert torch.corrcoef(beside)[0, 1] > 0.6


def test_colours_come_back_into_range() -> None:
    canvas = HexagonCanvas(2, 24, 36, cells=9, start=torch.rand(2, 3, 24, 36))
    with torch.no_grad():
        for layer in canvas.layers:
            layer += torch.linspace(-2, 2, layer.numel()).view_as(layer)
    inside = canvas.colours().detach().clamp(0, 1)
    canvas.project()
    torch.testing.assert_close(canvas.colours().detach(), inside, atol=1e-5, rtol=0)
