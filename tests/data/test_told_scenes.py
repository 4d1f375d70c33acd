"""Sentences of several things are taken apart; sentences of one thing stay whole."""

from __future__ import annotations

import random

import pytest

from lienzo.data.composed import RELATIONS, random_scene, sentences
from lienzo.data.told_scenes import Apart, Part, Thing, ToldScene, Touching, boxes_of, told_scene, worn_where
from lienzo.data.told_settings import Setting


def told(text: str) -> ToldScene:
    scene = told_scene(text)
    assert scene is not None, text
    return scene


def written(part: Part) -> str:
    """A layout in one line: [a | b] stand apart, (a wearing b) touch."""
    if isinstance(part, Thing):
        return part.text + "*" * part.many
    if isinstance(part, Apart):
        return "[" + " | ".join(map(written, part.parts)) + "]"
    return f"({written(part.first)} {part.relation} {written(part.second)})"


class Names:
    """A painter that knows a few names, and nothing that is only like them."""

    names = {
        "two hearts",
        "heart",
        "cat",
        "hat",
        "sun behind cloud",
        "sun",
        "cloud",
        "man",
        "man: beard",
        "beard",
        "box",
    }
    forms = {"hearts": "heart", "cats": "cat", "man with a beard": "man: beard", "cat in a box": "cat"}

    def nearest(self, text: str) -> tuple[str, float]:
        name = self.forms.get(text, text)
        return (name, 0.99 if name == text else 0.96) if name in self.names else ("thread", 0.6)

    def in_any_form(self, text: str) -> float:
        return self.nearest(text)[1]


@pytest.mark.parametrize(
    ("text", "things", "places"),
    [
        ("a red apple left of a blue car", ("a red apple", "a blue car"), "<"),
        ("a fox to the right of the tree", ("a fox", "the tree"), ">"),
        ("A cat above a box", ("A cat", "a box"), "^"),
        ("a cat below an umbrella", ("a cat", "an umbrella"), "v"),
        ("un perro a la izquierda del gato", ("un perro", "gato"), "<"),
        ("манго над домом", ("манго", "домом"), "^"),
        ("a cat and a dog", ("a cat", "a dog"), "<"),
        ("sun and moon", ("sun", "moon"), "<"),
        ("лиса и дом", ("лиса", "дом"), "<"),
    ],
)
def test_two_things(text: str, things: tuple[str, ...], places: str) -> None:
    scene = told(text)
    assert tuple(thing.text for thing in scene.things) == things
    assert isinstance(scene.layout, Apart)
    (ax, ay, _), (bx, by, _) = scene.layout.boxes
    assert {"<": ax < bx, ">": ax > bx, "^": ay < by, "v": ay > by}[places]
    assert all(0 <= x <= x + side <= 1 and 0 <= y <= y + side <= 1 for x, y, side in scene.layout.boxes)


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("a dog wearing a hat", "(a dog wearing hat)"),
        ("a dog wearing a red hat and glasses", "((a dog wearing red hat) wearing glasses)"),
        ("a dog with a hat next to a cat", "[(a dog wearing hat) | a cat]"),
        ("a cat and a dog in a hat", "[a cat | (a dog wearing hat)]"),
        ("three cats wearing crowns", "[(cats* wearing crowns*) | (cats* wearing crowns*) | (cats* wearing crowns*)]"),
        ("un perro con sombrero rojo", "(un perro wearing sombrero rojo)"),
        ("собака в шляпе", "(собака wearing шляпе)"),
        ("a cat on top of a table", "(a cat on a table)"),
        ("un gato sobre una mesa", "(un gato on una mesa)"),
        ("кот сидит на столе", "(кот on столе)"),
        ("a cat under an umbrella", "(a cat under an umbrella)"),
        ("un gato debajo de una mesa", "(un gato under una mesa)"),
        ("кот под столом", "(кот under столом)"),
        ("a cat in a box", "(a cat into a box)"),
        ("a bird inside a cage", "(a bird in a cage)"),
        ("un gato dentro de una caja", "(un gato into una caja)"),
        ("кот в коробке", "(кот into коробке)"),
        ("a bear holding a balloon", "(a bear holding a balloon)"),
        ("un oso con un globo en la mano", "(un oso holding un globo)"),
        ("медведь держит шарик", "(медведь holding шарик)"),
        ("a cat in front of a house", "(a cat before a house)"),
        ("un gato detrás de una casa", "(un gato behind una casa)"),
        ("кошка перед домом", "(кошка before домом)"),
        ("a ball between a cat and a dog", "[a ball | a cat | a dog]"),
        ("una pelota entre dos árboles", "[una pelota | árboles* | árboles*]"),
        ("мяч между котом и собакой", "[мяч | котом | собакой]"),
        ("a cat with a ball", "[a cat | a ball]"),
        ("a cat and a dog on a bed", "([a cat | a dog] on a bed)"),
        ("two cats and a dog", "[cats* | cats* | a dog]"),
        ("a row of three red apples on a table", "([red apples* | red apples* | red apples*] on a table)"),
        ("tres gatos", "[gatos* | gatos* | gatos*]"),
        ("две кошки", "[кошки* | кошки*]"),
    ],
)
def test_how_things_stand_to_each_other(text: str, layout: str) -> None:
    assert written(told(text).layout) == layout


@pytest.mark.parametrize(
    "text",
    ["a black and white cat", "un gato blanco y negro", "a fox", "", "left of", "a man and woman holding hands tight",
     "leftover rice", "an underdog", "a red, round apple", "and", "🦊", "a fox, flat", "a man in love",
     "an owl in flight", "a girl with red hair", "a cat with a big smile", "медведь с улыбкой", "three", "snow", "two"],
)  # fmt: skip
def test_one_thing_stays_whole(text: str) -> None:
    assert told_scene(text) is None


def test_a_name_that_the_painter_knows_is_one_drawing() -> None:
    for text in ("two hearts", "sun behind cloud", "a man with a beard"):
        assert told_scene(text, Names()) is None
    assert told_scene("two cats", Names()) is not None
    assert told_scene("a cat in a box", Names()) is not None, "a sentence that is like one of its things is no name"


class Exact:
    """A painter that knows names that read like scenes, and the things in them by the same drawings."""

    names = ("fork and knife", "bow and arrow", "three eyes", "face with hand over mouth", "sunrise over mountains")

    def nearest(self, text: str) -> tuple[str, float]:
        return next(((name, 1.0 if name == text else 0.9) for name in self.names if text in name), ("thread", 0.5))

    def in_any_form(self, text: str) -> float:
        return self.nearest(text)[1]


@pytest.mark.parametrize("name", Exact.names)
def test_the_very_name_of_a_drawing_is_no_scene(name: str) -> None:
    assert told_scene(name, Exact()) is None
    assert told_scene(f"a {name}", Exact()) is None


def test_what_the_painter_does_not_know_is_no_thing() -> None:
    assert told_scene("a man in a hurry") is not None
    assert told_scene("a man in a hurry", Names()) is None
    assert told_scene("a cat wearing a crown", Names()) is None


@pytest.mark.parametrize(
    ("text", "things", "setting"),
    [
        ("a fox in the snow", "a fox", Setting("snow")),
        ("a fox in the snow at night", "a fox", Setting("snow", "night")),
        ("a cat and a dog on grass", "[a cat | a dog]", Setting("grass")),
        ("a house under a night sky", "a house", Setting(None, "night")),
        ("a fox at sunset", "a fox", Setting(None, "sunset")),
        ("un zorro en la nieve", "un zorro", Setting("snow")),
        ("un barco en el mar al atardecer", "un barco", Setting("sea", "sunset")),
        ("лиса в снегу", "лиса", Setting("snow")),
        ("дом на траве под ночным небом", "дом", Setting("grass", "night")),
    ],
)
def test_ground_and_sky(text: str, things: str, setting: Setting) -> None:
    scene = told(text)
    assert (written(scene.layout), scene.setting) == (things, setting)


def test_things_stand_in_a_row_on_the_ground() -> None:
    for text, rows in (("three cats", 2), ("three cats on grass", 1)):
        layout = told(text).layout
        assert isinstance(layout, Apart)
        assert len({y for _, y, _ in layout.boxes}) == rows


@pytest.mark.parametrize(
    ("text", "shape", "number"),
    [
        ("five stars in a row", "row", 5),
        ("cinco estrellas en fila", "row", 5),
        ("пять звёзд в ряд", "row", 5),
        ("three red apples standing in a straight line on grass", "row", 3),
        ("three dogs wearing hats in a row", "row", 3),
        ("a cat, a dog and a bird in a line", "row", 3),
        ("four cats in a column", "column", 4),
        ("cuatro gatos en una columna", "column", 4),
        ("четыре кота столбиком", "column", 4),
        ("six birds in a circle", "circle", 6),
        ("seis pájaros en círculo", "circle", 6),
        ("шесть птиц по кругу", "circle", 6),
    ],
)
def test_a_shape_may_be_told_behind_the_things(text: str, shape: str, number: int) -> None:
    layout = told(text).layout
    assert isinstance(layout, Apart)
    assert layout.boxes == boxes_of(number, shape)


def test_what_is_no_shape_is_no_row() -> None:
    assert written(told("a cat in a row boat").layout) == "(a cat into a row boat)"
    row = told("three cats in a row on a table").layout
    assert isinstance(row, Touching)
    assert isinstance(row.first, Apart)
    assert row.first.boxes == boxes_of(3, "row")


@pytest.mark.parametrize("shape", ["group", "row", "column", "circle"])
@pytest.mark.parametrize("number", range(2, 13))
def test_counted_things_do_not_cover_each_other(shape: str, number: int) -> None:
    boxes = boxes_of(number, shape)
    assert len(boxes) == number
    assert all(x >= -1e-9 and x + side <= 1 + 1e-9 and -1e-9 <= y <= 1 + 1e-9 - side for x, y, side in boxes)
    for i, (ax, ay, side) in enumerate(boxes):
        for bx, by, _ in boxes[:i]:
            assert max(abs(ax - bx), abs(ay - by)) > (0.65 if shape == "circle" else 0.999) * side
    if shape == "row":
        assert len({round(y, 6) for _, y, _ in boxes}) == 1


def test_what_is_worn_where() -> None:
    said = ("a red hat", "gafas", "шарфе", "a tie", "a dress", "a cat", "a dog wearing a hat")
    assert list(map(worn_where, said)) == ["head", "eyes", "neck", "throat", "body", None, None]


def test_three_things() -> None:
    for text in ("a cat, a dog and a fox", "a cat, a dog, and a fox"):
        scene = told(text)
        assert written(scene.layout) == "[a cat | a dog | a fox]"
        assert isinstance(scene.layout, Apart)
        assert len(set(scene.layout.boxes)) == 3


@pytest.mark.parametrize("language", ["en", "es", "ru"])
def test_what_is_said_of_training_scenes_is_understood(language: str) -> None:
    names = {"en": ("fox", "car"), "es": ("zorro", "coche"), "ru": ("лиса", "машина")}[language]
    seen = set()
    for seed in range(20):
        scene = random_scene((0, 1), random.Random(seed))
        seen.add(scene.relation)
        for text in sentences(scene, names, language):
            assert tuple(thing.text for thing in told(text).things) == names
        layout = told(sentences(scene, names, language)[0]).layout
        if isinstance(layout, Touching):  # Spanish and Russian have one word for above and on, or below and under
            assert layout.relation == {"above": "on", "below": "under"}[scene.relation]
            continue
        assert isinstance(layout, Apart)
        axis = 0 if scene.relation in ("left of", "right of") else 1
        assert (layout.boxes[0][axis] < layout.boxes[1][axis]) == (scene.relation in ("left of", "above"))
    assert seen == set(RELATIONS)
