"""Masks of other tools become ours, 1 where to change, and back."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from pictures import encoded, gradient

from lienzo.core.errors import BadInput
from lienzo.imaging import masks

EDIT = np.array([[0, 0, 1], [0, 1, 1]], np.float32)  # 1 = change


def test_white_means_edit() -> None:
    data = encoded((EDIT * 255).astype(np.uint8))
    assert np.array_equal(masks.read_mask(data), EDIT)
    assert np.array_equal(masks.from_white(masks.to_white(EDIT)), EDIT)
    assert masks.read_mask(encoded(np.full((1, 1), 51, np.uint8)))[0, 0] == pytest.approx(0.2)


def test_white_strokes_on_nothing_edit_only_the_strokes() -> None:
    rgba = np.full((2, 3, 4), 255, np.uint8)
    rgba[..., 3] = EDIT * 255
    assert np.array_equal(masks.read_mask(encoded(rgba)), EDIT)


def test_transparent_means_edit() -> None:
    picture = gradient(2, 3)
    rgba = masks.to_transparent(EDIT, picture)
    assert np.array_equal(rgba[..., :3], picture)
    assert rgba[0, 0, 3] == 255
    assert rgba[0, 2, 3] == 0
    assert np.array_equal(masks.read_mask(encoded(rgba), "transparent"), EDIT)


def test_a_mask_that_says_nothing() -> None:
    with pytest.raises(BadInput, match="no transparent part"):
        masks.read_mask(encoded(gradient()), "transparent")
    with pytest.raises(BadInput, match="choose white, black or transparent"):
        masks.read_mask(encoded(gradient()), "grey")  # type: ignore[arg-type]


def test_sizes() -> None:
    assert np.array_equal(masks.fitted(EDIT, 2, 3), EDIT)
    large = masks.fitted(EDIT, 20, 30)
    assert large.shape == (20, 30)
    assert large.dtype == np.float32
    assert (large[0, 0], large[-1, -1]) == (0, 1)
    assert ((large >= 0) & (large <= 1)).all()
    half = masks.fitted(np.kron(EDIT, np.ones((8, 8), np.float32)), 2, 3)
    assert np.abs(half - EDIT).max() < 0.3


def test_a_mask_picture_is_turned_as_its_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray((EDIT * 255).astype(np.uint8)), exif=exif)
    assert np.array_equal(masks.read_mask(data), np.rot90(EDIT, -1))
