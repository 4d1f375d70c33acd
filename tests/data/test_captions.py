"""Captions say what is true of a record, in its languages, with an English reading beside each."""

from __future__ import annotations

import random

import pytest

from lienzo.data.captions import Caption, captions_of
from lienzo.data.phrases import COLOURS, STYLES
from lienzo.data.records import Record


def record(**changes: object) -> Record:
    values: dict[str, object] = {
        "key": "noto_fox", "concept": "fox", "name": "fox", "style": "glossy 3d", "source": "noto",
        "captions": {"en": ["fox", "reynard"], "es": ["zorro", "raposa"], "ru": ["лиса"]},
        "licence": "Apache-2.0", "permissive": True, "author": "",
    }  # fmt: skip
    return Record(**{**values, **changes})  # type: ignore[arg-type]


def made(count: int = 3, seeds: int = 30, **options: object) -> list[Caption]:
    return [c for seed in range(seeds) for c in captions_of(record(), random.Random(seed), count=count, **options)]  # type: ignore[arg-type]


def test_the_same_choices_give_the_same_captions() -> None:
    assert captions_of(record(), random.Random(5)) == captions_of(record(), random.Random(5))
    assert captions_of(record(), random.Random(5)) != captions_of(record(), random.Random(6))


def test_the_name_comes_first_in_every_language() -> None:
    assert [c.text for c in captions_of(record(), random.Random(0), count=1)] == ["fox", "zorro", "лиса"]


def test_every_caption_has_an_english_reading_of_the_same_thing() -> None:
    for caption in made():
        assert ("fox" in caption.english) or ("reynard" in caption.english)
        assert caption.english.isascii()
        if "zorro" in caption.text or "лиса" in caption.text:
            assert "fox" in caption.english
        assert "raposa" not in caption.text  # other names are not aligned across languages


def test_styles_are_named_only_where_they_may_be() -> None:
    words = {word for language in ("en", "es", "ru") for word in STYLES["glossy 3d"].words(language)}
    found = made()
    assert any(c.names_style for c in found)
    assert any(not c.names_style for c in found)
    for caption in found:
        assert caption.names_style == any(word in caption.text for word in words)
        assert caption.names_style == ("glossy 3d" in caption.english)
    assert not any(c.names_style for c in made(styled=False))
    unknown = record(style="no such style")
    assert not any(c.names_style for seed in range(20) for c in captions_of(unknown, random.Random(seed)))


@pytest.mark.parametrize("colour", ["purple", "red"])
def test_a_colour_is_said_in_every_caption(colour: str) -> None:
    every = {word for words in COLOURS[colour].values() for word in words}
    for caption in made(colour=colour):
        assert any(word in caption.text for word in every)
        assert colour in caption.english


def test_languages_without_a_name_are_left_out() -> None:
    only = record(captions={"ru": ["лиса"]})
    found = captions_of(only, random.Random(0))
    assert found
    assert all("лиса" in c.text and "fox" in c.english for c in found)
    assert captions_of(record(captions={}), random.Random(0)) == []
