"""Palettes: colours come from the painting, shapes from the drawing."""

from __future__ import annotations

import numpy as np

from lienzo.imaging.palette import blurred, closest_in_colour, in_colours_of

SIDE = 32


def disc(colour: tuple[int, int, int]) -> np.ndarray:
    """A disc on white."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    picture[rows**2 + columns**2 < 100] = colour
    return picture


def noise(colour: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.array(colour) + rng.normal(0, 12, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


def test_the_colours_are_the_paintings() -> None:
    painting = np.concatenate([noise((20, 40, 120))[: SIDE // 2], noise((230, 210, 170))[: SIDE // 2]])
    out = in_colours_of(disc((200, 30, 30)), painting)
    assert out.shape == (SIDE, SIDE, 3)
    assert out.dtype == np.uint8
    middle = out[12:20, 12:20].reshape(-1, 3).mean(0)
    assert middle[2] > middle[0], "red became the painting's blue"
    corner = out[-3:, :3].reshape(-1, 3).mean(0)
    assert np.abs(corner - (230, 210, 170)).max() < 40, "white became the painting's ground"


def test_the_shape_is_the_drawings() -> None:
    drawing = disc((10, 10, 10))
    out = in_colours_of(drawing, noise((128, 128, 128), 1)).astype(float).mean(-1)
    inside = drawing[..., 0] < 128
    assert out[inside].mean() < out[~inside].mean()


def test_it_repeats_and_leaves_its_arguments() -> None:
    drawing, painting = disc((0, 200, 0)), noise((90, 60, 30))
    kept = drawing.copy(), painting.copy()
    assert np.array_equal(in_colours_of(drawing, painting), in_colours_of(drawing, painting))
    assert np.array_equal(drawing, kept[0])
    assert np.array_equal(painting, kept[1])


def test_the_closest_painting_is_the_one_of_that_colour() -> None:
    paintings = [noise((200, 40, 40)), noise((40, 160, 60)), noise((40, 60, 200))]
    assert [closest_in_colour(disc(c), paintings) for c in ((190, 20, 20), (30, 200, 30), (0, 0, 255))] == [0, 1, 2]
    assert closest_in_colour(np.full((SIDE, SIDE, 3), 255, np.uint8), paintings) in (0, 1, 2)


def test_blurring_keeps_the_mean_of_a_flat_picture_and_spreads_a_point() -> None:
    assert np.allclose(blurred(np.full((8, 8, 1), 3.0, np.float32), 5, 2), 3)
    point = np.zeros((9, 9, 1), np.float32)
    point[4, 4] = 9
    out = blurred(point, 3)[..., 0]
    assert np.allclose(out[3:6, 3:6], 1)
    assert np.isclose(out.sum(), 9)
