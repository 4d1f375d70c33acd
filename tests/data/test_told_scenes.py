"""Sentences of several things are taken apart; sentences of one thing stay whole."""

from __future__ import annotations

import random

import pytest

from lienzo.data.composed import RELATIONS, random_scene, sentences
from lienzo.data.told_scenes import told_scene


@pytest.mark.parametrize(
    ("text", "things", "places"),
    [
        ("a red apple left of a blue car", ("a red apple", "a blue car"), "<"),
        ("a fox to the right of the tree", ("a fox", "the tree"), ">"),
        ("A cat on top of a box", ("A cat", "a box"), "^"),
        ("a cat under an umbrella", ("a cat", "an umbrella"), "v"),
        ("un perro a la izquierda del gato", ("un perro", "gato"), "<"),
        ("манго над домом", ("манго", "домом"), "^"),
        ("a cat and a dog", ("a cat", "a dog"), "<"),
        ("sun and moon", ("sun", "moon"), "<"),
        ("лиса и дом", ("лиса", "дом"), "<"),
    ],
)
def test_two_things(text: str, things: tuple[str, ...], places: str) -> None:
    scene = told_scene(text)
    assert scene is not None
    assert scene.things == things
    (ax, ay, _), (bx, by, _) = scene.boxes
    assert {"<": ax < bx, ">": ax > bx, "^": ay < by, "v": ay > by}[places]
    assert all(0 <= x <= x + side <= 1 and 0 <= y <= y + side <= 1 for x, y, side in scene.boxes)


@pytest.mark.parametrize(
    "text",
    ["a black and white cat", "un gato blanco y negro", "a fox", "", "left of", "a man and woman holding hands tight",
     "leftover rice", "an underdog", "a red, round apple", "and", "🦊", "a fox, flat"],
)  # fmt: skip
def test_one_thing_stays_whole(text: str) -> None:
    assert told_scene(text) is None


def test_three_things() -> None:
    for text in ("a cat, a dog and a fox", "a cat, a dog, and a fox"):
        scene = told_scene(text)
        assert scene is not None
        assert scene.things == ("a cat", "a dog", "a fox")
        assert len(set(scene.boxes)) == 3


@pytest.mark.parametrize("language", ["en", "es", "ru"])
def test_what_is_said_of_training_scenes_is_understood(language: str) -> None:
    names = {"en": ("fox", "car"), "es": ("zorro", "coche"), "ru": ("лиса", "машина")}[language]
    seen = set()
    for seed in range(20):
        scene = random_scene((0, 1), random.Random(seed))
        seen.add(scene.relation)
        for text in sentences(scene, names, language):
            told = told_scene(text)
            assert told is not None
            assert told.things == names
        told = told_scene(sentences(scene, names, language)[0])
        assert told is not None
        axis = 0 if scene.relation in ("left of", "right of") else 1
        said = told.boxes[0][axis] < told.boxes[1][axis]
        assert said == (scene.relation in ("left of", "above"))
    assert seen == set(RELATIONS)
