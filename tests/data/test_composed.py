"""Scenes: things stand where the sentence says, inside the picture."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lienzo.data.composed import RELATIONS, paste, random_scene, sentences


def coloured_squares() -> np.ndarray:
    """A red, a green and a blue square on white."""
    images = np.full((3, 32, 32, 3), 255, np.uint8)
    for i in range(3):
        images[i, 6:26, 6:26] = 0
        images[i, 6:26, 6:26, i] = 255
    return images


def centre(picture: np.ndarray, channel: int) -> tuple[float, float]:
    """Mean place (x, y) of what has one colour."""
    others = [c for c in range(3) if c != channel]
    mask = (picture[..., channel] > 200) & (picture[..., others] < 60).all(-1)
    assert mask.any()
    y, x = mask.nonzero()
    return float(x.mean()), float(y.mean())


@pytest.mark.parametrize("seed", range(12))
def test_two_things_stand_as_is_said(seed: int) -> None:
    scene = random_scene((0, 2), random.Random(seed))
    picture = paste(coloured_squares(), scene)
    (ax, ay), (bx, by) = centre(picture, 0), centre(picture, 2)
    stands = {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}
    assert stands[scene.relation]
    assert (abs(ax - bx) > 8) == (scene.relation in ("left of", "right of"))
    assert sentences(scene, ["fox", "car"], "en") == [f"fox {scene.relation} car", "fox and car"]


@pytest.mark.parametrize("seed", range(4))
def test_three_things_are_all_there(seed: int) -> None:
    scene = random_scene((2, 0, 1), random.Random(seed))
    picture = paste(coloured_squares(), scene)
    assert len({centre(picture, channel) for channel in range(3)}) == 3
    assert sentences(scene, ["a", "b", "c"], "es") == ["a, b y c"]


def test_every_relation_is_said_in_three_languages() -> None:
    for said in RELATIONS.values():
        assert set(said) == {"en", "es", "ru"}
        assert all("{a}" in text and "{b}" in text for text in said.values())
