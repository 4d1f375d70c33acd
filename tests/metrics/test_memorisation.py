"""Copies are found, moved ones too; other pictures are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.memorisation import SIDE, memorised


def pictures(count: int, seed: int, side: int = SIDE) -> np.ndarray:
    """Blurry pictures of random colours with some grain."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 8, 8, generator=generator)
    large = F.interpolate(small, (side, side), mode="bilinear")
    grain = 0.02 * torch.randn(large.shape, generator=generator)
    return ((large + grain).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()


def means(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 16).flatten(1) - 0.5


TRAINING = pictures(40, 0)


def test_copies_are_found_with_their_row_wherever_they_were_moved() -> None:
    moved = np.roll(TRAINING[[3, 11, 25]], (1, -2), (1, 2))
    bright = np.clip(TRAINING[[7]].astype(int) + 3, 0, 255).astype(np.uint8)
    found = memorised(np.concatenate([TRAINING[[5]], moved, bright]), TRAINING, means)
    assert found.pixels.row.tolist() == [5, 3, 11, 25, 7]
    assert found.pixels.copied.all()
    assert found.pixels.distance[0] < 1e-3
    assert found.features is not None
    assert found.features.row.tolist() == [5, 3, 11, 25, 7]
    assert found.figures()["copies[rmse,64px,shift=2,n=5]"] == 1


def test_other_pictures_are_no_copies() -> None:
    found = memorised(pictures(20, 1), TRAINING, means)
    assert not found.pixels.copied.any()
    assert set(found.figures().values()) == {0}


def test_the_distance_is_the_root_mean_square_error() -> None:
    black, grey = np.zeros((1, SIDE, SIDE, 3), np.uint8), np.full((1, SIDE, SIDE, 3), 51, np.uint8)
    found = memorised(grey, black)
    assert np.isclose(found.pixels.distance[0], 0.2, rtol=1e-3)
    assert found.features is None


def test_the_rows_go_on_over_batches() -> None:
    many = np.concatenate([pictures(300, 2), TRAINING])
    assert memorised(TRAINING[[9]], many).pixels.row.tolist() == [309]


def test_other_sizes_are_compared_at_one() -> None:
    small = pictures(3, 4, 32)
    assert memorised(small[:1], small).pixels.row.tolist() == [0]


def test_the_sheet_shows_pairs_nearest_first() -> None:
    found = memorised(np.concatenate([pictures(3, 1), TRAINING[:1]]), TRAINING)
    sheet = found.sheet(np.concatenate([pictures(3, 1), TRAINING[:1]]), TRAINING)
    assert sheet.dtype == np.uint8
    cells = [sheet[8:104, x : x + 96].astype(int) for x in (8, 112, 216)]
    assert np.array_equal(cells[0], cells[1]), "the copy is the first"
    assert not np.array_equal(cells[0], cells[2])


def test_nothing_to_compare() -> None:
    with pytest.raises(BadInput, match="at least one sample"):
        memorised(TRAINING[:0], TRAINING)
