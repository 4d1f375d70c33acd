"""Palettes: colours come from the paintings, shapes from the drawing."""

from __future__ import annotations

import numpy as np

from lienzo.imaging.palette import GROUND, blurred, palette_of, repainted

SIDE = 32
COLOURS = ((200, 30, 30), (30, 160, 40), (30, 60, 220), (220, 180, 30), (20, 20, 20), (150, 90, 60))


def disc(colour: tuple[int, int, int]) -> np.ndarray:
    """A disc on white."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    picture[rows**2 + columns**2 < 100] = colour
    return picture


DRAWINGS = np.stack([disc(colour) for colour in COLOURS])


def paintings() -> np.ndarray:
    """Light sky over dark sea, with some orange."""
    rng = np.random.default_rng(0)
    sky, sea, sail = np.array([235, 215, 175]), np.array([20, 50, 110]), np.array([210, 120, 70])
    picture = np.where(np.arange(SIDE)[:, None, None] < SIDE // 2, sky, sea) + np.zeros((5, SIDE, SIDE, 3))
    picture[:, 12:18, 8:20] = sail
    return (picture + rng.normal(0, 8, picture.shape)).clip(0, 255).astype(np.uint8)


def ink_of(pictures: np.ndarray) -> np.ndarray:
    return pictures[DRAWINGS.min(-1) <= 255 * GROUND].astype(float)


def test_the_colours_of_all_drawings_together_become_the_paintings() -> None:
    painted = paintings()
    palette = palette_of(painted, DRAWINGS)
    moved = (ink_of(DRAWINGS) / 255 - palette.before) @ palette.turn + palette.after
    want = painted.reshape(-1, 3) / 255
    assert np.allclose(moved.mean(0), want.mean(0), atol=0.01)
    assert np.allclose(np.cov(moved.T), np.cov(want.T), atol=0.01)


def test_no_other_linear_map_moves_colours_less() -> None:
    """The map is symmetric and positive: the mark of the Monge-Kantorovich solution."""
    turn = palette_of(paintings(), DRAWINGS).turn
    assert np.allclose(turn, turn.T, atol=1e-5)
    assert (np.linalg.eigvalsh(turn) > 0).all()


def test_blue_stays_the_bluest() -> None:
    out = repainted(DRAWINGS, palette_of(paintings(), DRAWINGS))
    assert out.shape == DRAWINGS.shape
    assert out.dtype == np.uint8
    middle = out[:, 12:20, 12:20].mean((1, 2))
    assert (middle[:, 2] - middle[:, 0]).argmax() == 2
    assert middle.mean(1).argmin() == 4, "and black the darkest"


def test_white_becomes_the_ground_of_the_paintings() -> None:
    out = repainted(DRAWINGS[:1], palette_of(paintings(), DRAWINGS))[0].astype(float)
    top, bottom = out[0, :3].mean(0), out[-1, :3].mean(0)
    assert np.abs(top - (235, 215, 175)).max() < 40
    assert np.abs(bottom - (20, 50, 110)).max() < 40
    again = repainted(np.stack([disc((9, 9, 9))]), palette_of(paintings(), DRAWINGS))[0]
    assert np.array_equal(again[:2], out[:2].astype(np.uint8)), "the same under every drawing"


def test_paintings_and_drawings_are_left_as_they_are() -> None:
    painted, drawn = paintings(), DRAWINGS.copy()
    kept = painted.copy()
    repainted(drawn, palette_of(painted, drawn))
    assert np.array_equal(painted, kept)
    assert np.array_equal(drawn, DRAWINGS)


def test_empty_drawings_and_plain_paintings() -> None:
    white, grey = np.full((1, SIDE, SIDE, 3), 255, np.uint8), np.full((2, SIDE, SIDE, 3), 90, np.uint8)
    out = repainted(white, palette_of(grey, white))
    assert np.abs(out.astype(int) - 90).max() <= 1


def test_blurring_keeps_the_mean_of_a_flat_picture_and_spreads_a_point() -> None:
    assert np.allclose(blurred(np.full((8, 8, 1), 3.0, np.float32), 5, 2), 3)
    point = np.zeros((9, 9, 1), np.float32)
    point[4, 4] = 9
    out = blurred(point, 3)[..., 0]
    assert np.allclose(out[3:6, 3:6], 1)
    assert np.isclose(out.sum(), 9)
