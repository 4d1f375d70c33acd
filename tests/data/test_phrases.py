"""Styles are found in prompts of three languages, and leave a subject behind."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.data.phrases import (
    COLOURS,
    LANGUAGES,
    STYLED,
    STYLES,
    TEMPLATES,
    bare,
    coloured,
    find_colour,
    find_style,
    plain,
    things,
)


@pytest.mark.parametrize(
    ("prompt", "subject", "style"),
    [
        ("a red fox, watercolor", "a red fox", "watercolor"),
        ("A Red Fox, WATERCOLOUR", "a red fox", "watercolor"),
        ("a watercolor painting of a cat", "a cat", "watercolor"),
        ("watercolor of a cat", "a cat", "watercolor"),
        ("a cat in watercolor", "a cat", "watercolor"),
        ("a cat in watercolor style", "a cat", "watercolor"),
        ("a cat in the style of an oil painting", "a cat", "oil painting"),
        ("a ship in oil", "a ship", "oil painting"),
        ("pencil sketch of a tree", "a tree", "pencil"),
        ("a tree as pixel art", "a tree", "pixel art"),
        ("a tree, pixel-art", "a tree", "pixel art"),
        ("a tree, 8 bit", "a tree", "pixel art"),
        ("a flat cat", "a cat", "flat"),
        ("black silhouette of a cat", "a cat", "black silhouette"),
        ("stained glass, a rose", "a rose", "stained glass"),
        ("un zorro rojo, acuarela", "un zorro rojo", "watercolor"),
        ("un zorro en acuarela", "un zorro", "watercolor"),
        ("un zorro en estilo acuarela", "un zorro", "watercolor"),
        ("un barco, pintura al óleo", "un barco", "oil painting"),
        ("un barco al óleo", "un barco", "oil painting"),
        ("dibujo a lápiz de un gato", "un gato", "pencil"),
        ("una vidriera de una rosa", "una rosa", "stained glass"),
        ("un gato, arte de píxeles", "un gato", "pixel art"),
        ("рыжая лиса, акварель", "рыжая лиса", "watercolor"),
        ("рыжая лиса акварелью", "рыжая лиса", "watercolor"),
        ("корабль маслом", "корабль", "oil painting"),
        ("кот в стиле мозаика", "кот", "mosaic"),
        ("кот карандашом", "кот", "pencil"),
        ("витраж: роза", "роза", "stained glass"),
        ("силуэт кота", "кота", "black silhouette"),
        ("watercolor", "watercolor", "watercolor"),
        ("a pencil", "a pencil", "pencil"),
        ("un lápiz", "un lápiz", "pencil"),
        ("a red fox", "a red fox", None),
        ("A Red Fox!", "A Red Fox!", None),
        ("an inflatable boat", "an inflatable boat", None),
        ("iconic oilskin retrograde", "iconic oilskin retrograde", None),
        ("", "", None),
    ],
)
def test_find_style(prompt: str, subject: str, style: str | None) -> None:
    text, found = find_style(prompt)
    assert (text, found.name if found else None) == (subject, style)


OWN = ("hokusai", "van gogh", "watercolor", "flat")


@pytest.mark.parametrize(
    ("prompt", "subject", "style"),
    [
        ("a bridge in the style of Hokusai", "a bridge", "hokusai"),
        ("a bridge, in the style of Hokusai", "a bridge", "hokusai"),
        ("a bridge by Hokusai", "a bridge", "hokusai"),
        ("a bridge, Hokusai", "a bridge", "hokusai"),
        ("a bridge in Hokusai style", "a bridge", "hokusai"),
        ("a Hokusai painting of a bridge", "a bridge", "hokusai"),
        ("starry night after van Gogh", "starry night", "van gogh"),
        ("un puente al estilo de Hokusai", "un puente", "hokusai"),
        ("un puente, en el estilo de van Gogh", "un puente", "van gogh"),
        ("un puente a la manera de Hokusai", "un puente", "hokusai"),
        ("un puente de Hokusai", "un puente", "hokusai"),
        ("мост в стиле Хокусая", "мост", "hokusai"),
        ("мост в стиле Hokusai", "мост", "hokusai"),
        ("мост кисти Хокусая", "мост", "hokusai"),
        ("звёздная ночь, в стиле ван Гога", "звёздная ночь", "van gogh"),
        ("мост в стиле барокко", "мост в стиле барокко", None),
        ("a bridge in the style of Picasso", "a bridge in the style of picasso", None),
        ("a boat in watercolor", "a boat", "watercolor"),
        ("hokusai", "hokusai", "hokusai"),
    ],
)
def test_styles_that_only_a_model_knows(prompt: str, subject: str, style: str | None) -> None:
    text, found = find_style(prompt, OWN)
    assert (text.lower(), found.name if found else None) == (subject, style)
    if style in ("hokusai", "van gogh"):
        assert find_style(prompt)[1] is None, "models that lack the style do not find it"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_every_style_is_found_after_a_comma(language: str) -> None:
    for style in STYLES.values():
        for word in style.words(language):
            text, found = find_style(f"xyz, {word}")
            assert (text, found) == ("xyz", style)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_captions_say_is_read_back(language: str) -> None:
    """The sentences of training are those that prompts are taken apart from: same style, subject without it."""
    for template in STYLED[language]:
        for style in STYLES.values():
            text, found = find_style(template.format(text="xyz", style=style.words(language)[0]))
            assert found is style
            assert "xyz" in text
            assert plain(style.words(language)[0]) not in text


def test_the_longest_phrase_wins() -> None:
    text, style = find_style("an icon, black silhouette")
    assert style is not None
    assert style.name == "black silhouette"
    assert text == "an icon"


def test_no_word_names_two_styles() -> None:
    owner: dict[tuple[str, str], str] = {}
    for style in STYLES.values():
        for language in LANGUAGES:
            for word in style.words(language):
                assert owner.setdefault((language, plain(word)), style.name) == style.name


@given(st.text(max_size=60))
def test_any_text_keeps_a_subject(text: str) -> None:
    subject, style = find_style(text)
    assert style is not None or subject == text
    assert subject.strip() or not text.strip()


def test_colour_words_stand_where_the_language_puts_them() -> None:
    rng = random.Random(0)
    assert coloured("fox", "red", "en", rng) == "red fox"
    assert coloured("zorro", "blue", "es", rng) == "zorro azul"
    assert coloured("лиса", "pink", "ru", rng).endswith(" лиса")


def test_tables_cover_all_languages() -> None:
    for words in COLOURS.values():
        assert set(words) == set(LANGUAGES)
        assert all(words.values())
    assert set(TEMPLATES) == set(STYLED) == set(LANGUAGES)
    assert all(template.format("x") for templates in TEMPLATES.values() for template in templates)


def test_plain_folds_what_looks_alike() -> None:
    assert plain("  Pixel-ART\n８ bit ") == "pixel art 8 bit"


def test_things_are_names_without_styles() -> None:
    names = things()
    assert len(names) == len(set(names)) > 1000
    assert {"house", "red apple", "sailboat"} <= set(names)
    assert all(name == name.strip() and name for name in names)


@pytest.mark.parametrize(
    ("text", "rest", "colour"),
    [
        ("a purple cat", "a cat", "purple"),
        ("Grey elephant", "elephant", "gray"),
        ("un gato morado", "un gato", "purple"),
        ("красная машина", "машина", "red"),
        ("a cat with a blue hat", "a cat with a blue hat", None),
        ("a black and white cat", "a black and white cat", None),
        ("an orange", "an orange", None),
        ("blue", "blue", None),
        ("two red hearts", "two hearts", "red"),
        ("taza de café", "taza de café", None),
        ("a red-haired girl", "a red-haired girl", None),
        ("", "", None),
    ],
)
def test_find_colour(text: str, rest: str, colour: str | None) -> None:
    assert find_colour(text) == (rest, colour)


@pytest.mark.parametrize(
    ("text", "rest"), [("a fox", "fox"), ("Un gato", "gato"), ("fox", "fox"), ("a", "a"), ("the ", "the "), ("", "")]
)
def test_bare(text: str, rest: str) -> None:
    assert bare(text) == rest
