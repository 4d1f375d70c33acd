"""Tiles: exact, without seams, within the memory of a tile, for any size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress
from lienzo.imaging.tiles import run_tiled, tile_starts


def nearest(scale: int) -> object:
    return lambda x: x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 5),
    st.integers(0, 75),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["smooth", "uniform"]),
    st.sampled_from([1, 4, 8]),
)
def test_identity_and_bounded_tiles(
    height: int, width: int, windows: int, percent: int, scale: int, blend: str, window: int
) -> None:
    tile = windows * window
    overlap = min(percent * tile // 100, tile - 1)
    x = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))

    def fn(part: Tensor) -> Tensor:
        assert part.shape[:2] == (2, 3)
        assert max(part.shape[2:]) <= tile
        assert part.shape[2] % window == part.shape[3] % window == 0
        return nearest(scale)(part)  # type: ignore[operator]

    y = run_tiled(fn, x, tile=tile, overlap=overlap, scale=scale, window=window, blend=blend)
    torch.testing.assert_close(y, nearest(scale)(x), atol=1e-6, rtol=0)  # type: ignore[operator]


def test_no_seam_where_tiles_disagree() -> None:
    """Each tile adds a ramp over its own places, so neighbours differ by a lot; the blend must hide it."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 70), torch.linspace(0, 1, 100), indexing="ij")
    image = (x + y)[None, None] / 2

    def disagreeing(part: Tensor) -> Tensor:
        ramp = torch.linspace(0, 0.2, part.shape[2])[:, None] + torch.linspace(0, 0.2, part.shape[3])
        return part + ramp

    def bend(blend: str) -> float:
        z = run_tiled(disagreeing, image, tile=32, overlap=16, scale=1, blend=blend).double()
        return max(z.diff(n=2, dim=d).abs().max().item() for d in (2, 3))

    # Fading a step of 0.2 by a raised cosine over 16 pixels bends by about 0.2 pi^2 / (2 16^2) = 0.004.
    assert bend("smooth") < 0.008
    assert bend("uniform") > 0.05


def test_a_convolution_is_exact_inside() -> None:
    """With an overlap above its reach, a convolution is wrong only where a tile's edge has no weight."""
    kernel = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    x = torch.rand(1, 1, 50, 41, generator=torch.Generator().manual_seed(2))
    whole = F.conv2d(x, kernel, padding=1)
    tiled = run_tiled(lambda p: F.conv2d(p, kernel, padding=1), x, tile=24, overlap=12, scale=1)
    assert (tiled - whole).abs().max() < 0.02 * whole.abs().max()


@pytest.mark.parametrize("blend", ["smooth", "uniform"])
def test_no_wasted_tile(blend: str) -> None:
    """A side that is a multiple of the window is neither extended nor cut into more tiles than needed."""
    shapes = []

    def fn(part: Tensor) -> Tensor:
        shapes.append(tuple(part.shape[2:]))
        return part

    run_tiled(fn, torch.rand(1, 1, 16, 24), tile=24, overlap=4, scale=1, window=8, blend=blend)
    assert shapes == [(16, 24)]
    assert tile_starts(64, 32, 8, "smooth") == [0, 16, 32]
    assert tile_starts(56, 32, 8, "smooth") == [0, 24]
    assert tile_starts(24, 16, 4, "uniform") == [0, 8]


def test_progress_counts_every_tile() -> None:
    seen: list[Progress] = []
    run_tiled(lambda p: p, torch.rand(1, 1, 30, 50), tile=20, overlap=5, scale=1, progress=seen.append)
    assert [event.done for event in seen] == list(range(1, seen[0].total + 1))
    assert seen[0].total == 2 * 3


def test_the_border_is_repeated_for_a_window() -> None:
    x = torch.arange(5.0).view(1, 1, 1, 5)
    seen = []
    run_tiled(lambda p: (seen.append(p), p)[1], x, tile=8, overlap=0, scale=1, window=4)
    torch.testing.assert_close(seen[0], F.pad(x, (0, 3, 0, 3), mode="replicate"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tile": 12, "window": 8}, "multiple of the window"),
        ({"tile": 0}, "multiple of the window"),
        ({"overlap": 16}, "from 0 to 15"),
        ({"blend": "hard"}, "There is no blend 'hard'"),
        ({"scale": 2}, "should grow 2 times"),
    ],
)
def test_bad_sizes_get_one_sentence(wrong: dict[str, object], sentence: str) -> None:
    options = {"tile": 16, "overlap": 4, "scale": 1} | wrong
    with pytest.raises(BadInput, match=sentence):
        run_tiled(lambda p: p, torch.rand(1, 1, 20, 20), **options)  # type: ignore[arg-type]


def test_a_tensor_that_is_no_picture() -> None:
    with pytest.raises(BadInput, match="cut from pictures"):
        run_tiled(lambda p: p, torch.rand(1, 20, 20), tile=8, overlap=0, scale=1)
