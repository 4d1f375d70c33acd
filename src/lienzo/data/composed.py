"""Pictures of two or three things, pasted together from pictures of one, with sentences that say what is where."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

RELATIONS = {
    "left of": {"en": "{a} left of {b}", "es": "{a} a la izquierda de {b}", "ru": "{a} слева от {b}"},
    "right of": {"en": "{a} right of {b}", "es": "{a} a la derecha de {b}", "ru": "{a} справа от {b}"},
    "above": {"en": "{a} above {b}", "es": "{a} encima de {b}", "ru": "{a} над {b}"},
    "below": {"en": "{a} below {b}", "es": "{a} debajo de {b}", "ru": "{a} под {b}"},
}
"""How the first of two things stands to the second, and how it is said. Russian keeps the nominative."""
AND = {"en": "{a} and {b}", "es": "{a} y {b}", "ru": "{a} и {b}"}
THREE = {"en": "{a}, {b} and {c}", "es": "{a}, {b} y {c}", "ru": "{a}, {b} и {c}"}


@dataclass(frozen=True)
class Scene:
    """Where things stand in a square picture.

    Attributes:
        rows: which pictures.
        boxes: (left, top, side) of each as shares of the whole, in the order of painting.
        relation: of the first thing to the second, a key of `RELATIONS`; "" where there are three.
    """

    rows: tuple[int, ...]
    boxes: tuple[tuple[float, float, float], ...]
    relation: str


def random_scene(rows: Sequence[int], rng: random.Random) -> Scene:
    """Two things beside or above each other, or three in a row or a triangle."""
    if len(rows) == 3:
        places = rng.choice([((0.0, 0.33), (0.33, 0.33), (0.66, 0.33)), ((0.25, 0.0), (0.0, 0.5), (0.5, 0.5))])
        side = 0.34 if places[0][1] else 0.5
        return Scene(tuple(rows), tuple((x, y, side) for x, y in places), "")
    relation = rng.choice(list(RELATIONS))
    side = rng.uniform(0.46, 0.52)
    low, high, across = rng.uniform(0, 0.04), 1 - side - rng.uniform(0, 0.04), rng.uniform(0.1, 0.4)
    first, second = (low, high) if relation in ("left of", "above") else (high, low)
    beside = relation in ("left of", "right of")
    boxes = tuple((place, across, side) if beside else (across, place, side) for place in (first, second))
    return Scene(tuple(rows), boxes, relation)


def sentences(scene: Scene, names: Sequence[str], language: str) -> list[str]:
    """What can be said of a scene of things with these names."""
    if len(names) == 3:
        a, b, c = names
        return [THREE[language].format(a=a, b=b, c=c)]
    a, b = names
    return [RELATIONS[scene.relation][language].format(a=a, b=b), AND[language].format(a=a, b=b)]


def paste(images: np.ndarray, scene: Scene) -> np.ndarray:
    """The scene as a picture, uint8 (S, S, 3); drawings on white darken what they cover, so that white is clear.

    Args:
        images: (N, S, S, 3) uint8, drawings on white.
        scene: its rows index `images`.
    """
    size = images.shape[1]
    result = np.full((size, size, 3), 255, np.uint8)
    for row, (left, top, side) in zip(scene.rows, scene.boxes, strict=True):
        pixels = round(side * size)
        x, y = min(round(left * size), size - pixels), min(round(top * size), size - pixels)
        small = np.asarray(Image.fromarray(images[row]).resize((pixels, pixels), Image.Resampling.BOX))
        place = result[y : y + pixels, x : x + pixels]
        np.minimum(place, small, out=place)
    return result
