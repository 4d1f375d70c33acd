"""A drawing in another colour has that colour, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.data.recolour import HUES, PAINTS, colour_name, from_hsv, main_hue, recolour, to_hsv


def apple(hue: float, saturation: float = 0.85, side: int = 32) -> np.ndarray:
    """A shaded disc of one hue on white with a dark stem."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    inside = x**2 + y**2 < 0.15
    value = np.clip(0.9 - 0.5 * (x + y), 0.35, 1)
    image = from_hsv(np.full_like(x, hue), np.full_like(x, saturation), value)
    image[~inside] = 255
    image[:4, side // 2 - 1 : side // 2 + 1] = 20
    return image


@pytest.mark.parametrize("colour", HUES)
def test_hues_have_names(colour: str) -> None:
    assert colour_name(apple(HUES[colour])) == colour


@pytest.mark.parametrize("start", ["red", "yellow", "green", "blue", "purple"])
@pytest.mark.parametrize("colour", HUES)
def test_a_recoloured_picture_has_the_colour(start: str, colour: str) -> None:
    painted = recolour(apple(HUES[start]), colour)
    assert painted is not None
    assert colour_name(painted) == colour


@pytest.mark.parametrize("colour", PAINTS)
def test_white_ground_and_dark_lines_stay(colour: str) -> None:
    image = apple(HUES["blue"])
    painted = recolour(image, colour)
    assert painted is not None
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8
    neutral = (image == 255).all(-1) | (image == 20).all(-1)
    assert neutral.sum() > 300
    assert np.array_equal(painted[neutral], image[neutral])
    if colour != "blue":
        assert (painted[~neutral] != image[~neutral]).any(-1).mean() > 0.9


@pytest.mark.parametrize(
    ("colour", "low", "high"), [("white", 190, 256), ("gray", 60, 200), ("black", 0, 70), ("brown", 20, 150)]
)
def test_paints_without_a_hue_of_their_own(colour: str, low: int, high: int) -> None:
    image = apple(HUES["green"])
    painted = recolour(image, colour)
    assert painted is not None
    middle = painted[10:22, 10:22].reshape(-1, 3)
    assert low <= middle.mean() < high
    if colour != "brown":
        assert np.ptp(middle.astype(int), axis=1).max() < 32  # hardly any colour is left


def test_the_shading_stays() -> None:
    image = apple(HUES["red"])
    painted = recolour(image, "blue")
    assert painted is not None
    before, after = to_hsv(image)[2][8:24, 8:24], to_hsv(painted)[2][8:24, 8:24]
    assert np.abs(before - after).max() < 0.02


@pytest.mark.parametrize("kind", ["white", "grey", "rainbow", "pale"])
def test_pictures_without_one_hue_have_no_colour(kind: str) -> None:
    image = np.full((32, 32, 3), 255, np.uint8)
    if kind == "grey":
        image[8:24, 8:24] = 90
    if kind == "rainbow":
        image = from_hsv(np.tile(np.linspace(0, 359, 32), (32, 1)), np.ones((32, 32)), np.ones((32, 32)))
    if kind == "pale":
        image = apple(HUES["red"], saturation=0.12)
    assert main_hue(image) is None
    assert colour_name(image) is None
    assert recolour(image, "red") is None


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_hsv_there_and_back(colour: tuple[int, int, int]) -> None:
    image = np.array(colour, np.uint8)[None, None]
    hue, saturation, value = to_hsv(image)
    assert 0 <= hue.item() < 360
    assert np.abs(from_hsv(hue, saturation, value).astype(int) - image).max() <= 1
