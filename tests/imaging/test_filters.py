"""Painterly filters on pictures of any size: same shape, same seed same picture, and a change one can see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lienzo.data.phrases import STYLES
from lienzo.imaging.filters import FILTERS

SEEDLESS = {"pixel art", "outlined", "line icon", "black silhouette"}
BLACK = {"line icon", "black silhouette"}  # colours go


def picture(height: int, width: int) -> np.ndarray:
    """A red disc on white over a blue bar, a little noisy."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    image = np.full((height, width, 3), 250.0)
    image[(x / width - 0.5) ** 2 + (y / height - 0.45) ** 2 < 0.12] = (210, 60, 50)
    image[y > 0.85 * height] = (40, 80, 200)
    image += np.random.default_rng(0).normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(8, 8), (8, 133), (97, 8), (9, 11), (16, 64), (33, 32), (97, 133)])
@pytest.mark.parametrize("name", FILTERS)
def test_any_size(name: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    before = image.copy()
    paint: Any = FILTERS.load(name)
    painted = paint(image, 3)
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8
    assert painted.flags.writeable
    assert np.array_equal(image, before), "the filter changed its input"
    assert np.array_equal(paint(image, 3), painted)
    assert not np.array_equal(painted, image)
    if name not in SEEDLESS:
        assert not np.array_equal(paint(image, 4), painted)


@pytest.mark.parametrize("name", [name for name in FILTERS if name not in BLACK])
def test_the_picture_is_still_there(name: str) -> None:
    """Painted over, but a red disc on white over a blue bar all the same: coarse colours stay near."""
    image = picture(96, 96)
    painted = FILTERS.load(name)(image, 0)
    coarse = [x.astype(float).reshape(6, 16, 6, 16, 3).mean((1, 3)) for x in (image, painted)]
    if name == "pencil":  # graphite: light and dark stay, colours go
        coarse = [x.mean(-1) for x in coarse]
    likeness = np.corrcoef(coarse[0].ravel(), coarse[1].ravel())[0, 1]
    assert likeness > 0.85
    assert np.abs(painted.astype(float) - image).mean() > 2


def ink(name: str, size: int) -> np.ndarray:
    """What is dark (size, size) in a red disc on white over a blue bar."""
    return FILTERS.load(name)(picture(size, size), 0).max(-1) < 150


@pytest.mark.parametrize("size", [128, 256, 700])
@pytest.mark.parametrize("name", ["outlined", "line icon"])
def test_lines_run_around_things(name: str, size: int) -> None:
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    away = np.abs(np.hypot(x - 0.5, y - 0.45) - 0.12**0.5)  # from the rim of the disc, in shares of the side
    line, calm = (away < 0.005) & (y < 0.75), (away > 0.04) & (y < 0.75)
    assert ink(name, size)[line].mean() > 0.9, "the line has gaps"
    assert ink(name, size)[calm].mean() < 0.02
    inside = FILTERS.load(name)(picture(size, size), 0)[size // 2, size // 2]
    assert inside.tolist() == pytest.approx([255] * 3 if name == "line icon" else [210, 60, 50], abs=12)


@pytest.mark.parametrize("size", [128, 256])
def test_silhouettes_are_black_all_over(size: int) -> None:
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    away = np.hypot(x - 0.5, y - 0.45) - 0.12**0.5
    assert ink("black silhouette", size)[away < -0.03].mean() > 0.98
    assert ink("black silhouette", size)[(away > 0.03) & (y < 0.75)].mean() < 0.05


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_blank_pictures(name: str, shade: int) -> None:
    blank = np.full((24, 24, 3), shade, np.uint8)
    painted = FILTERS.load(name)(blank, 1).astype(float)
    assert np.isfinite(painted).all()
    if shade == 255 and name not in ("mosaic", "stained glass"):  # those have dark joints
        assert painted.mean() > 200


def test_every_style_that_is_a_filter_has_one() -> None:
    assert {style.name for style in STYLES.values() if style.filter} == set(FILTERS)
