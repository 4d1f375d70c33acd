"""Resizing keeps the aspect by cropping the middle, and does not alias."""

from __future__ import annotations

import numpy as np
import pytest

from lienzo.imaging.resize import resize_array


@pytest.mark.parametrize(
    ("old", "new"),
    [((40, 60), (16, 16)), ((7, 5), (31, 8)), ((1, 1), (16, 16)), ((1, 300), (16, 16)), ((16, 8), (8, 16))],
)
def test_any_size_to_any_size(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*old, 3), np.uint8)
    made = resize_array(image, *new)
    assert made.shape == (*new, 3)
    assert made.dtype == np.uint8


def test_the_same_size_is_the_same_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    assert resize_array(image, 9, 11) is image


def test_the_middle_is_kept() -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 255
    assert (resize_array(image, 10, 10) == 255).all()
    assert (resize_array(image.transpose(1, 0, 2).copy(), 10, 10) == 255).all()


def test_fine_stripes_become_grey() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::2] = 255
    small = resize_array(image, 8, 8)[2:-2, 2:-2].astype(int)
    assert np.abs(small - 127).max() < 12
