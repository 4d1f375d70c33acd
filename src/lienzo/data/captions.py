"""Captions for training: what can be said of a record, in three languages, with or without style and colour."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lienzo.data.phrases import LANGUAGES, STYLED, STYLES, TEMPLATES, coloured
from lienzo.data.records import Record


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence about a picture; `english` says the same in English (the teacher reads only that)."""

    text: str
    english: str
    names_style: bool = False
    names_colour: bool = False


def _templated(name: str, english: str, language: str, rng: random.Random) -> tuple[str, str]:
    index = rng.randrange(len(TEMPLATES[language]))
    template = TEMPLATES[language][index]
    return template.format(name), (template if language == "en" else "{}").format(english)


def _styled(text: str, english: str, style: str, language: str, rng: random.Random) -> tuple[str, str]:
    words = STYLES[style]
    said = rng.choice(STYLED[language]).format(text=text, style=rng.choice(words.words(language)))
    return said, f"{english}, {words.en[0]}"


def captions_of(
    record: Record, rng: random.Random, *, colour: str | None = None, styled: bool = True, count: int = 3
) -> list[Caption]:
    """Up to `count` captions a language about a record.

    Args:
        record: what is shown.
        rng: source of the choices.
        colour: colour word that is true of the picture, said in every caption.
        styled: whether captions may name the style.
        count: captions a language.
    """
    found: list[Caption] = []
    english_name = record.captions["en"][0] if record.captions.get("en") else record.name
    for language in LANGUAGES:
        names = record.captions.get(language) or []
        for n in range(count if names else 0):
            name = names[0] if n == 0 or rng.random() < 0.5 else rng.choice(names[:6])
            english = name if language == "en" else english_name
            if language != "en" and name != names[0]:
                continue  # other names and tags are not aligned across languages
            if colour is not None:
                name, english = coloured(name, colour, language, rng), f"{colour} {english}"
            text, said = (name, english) if n == 0 else _templated(name, english, language, rng)
            names_style = styled and record.style in STYLES and n >= 1 and rng.random() < 0.7
            if names_style:
                text, said = _styled(text, said, record.style, language, rng)
            found.append(Caption(text, said, names_style, colour is not None))
    return found


MANNERS = {
    "en": ("a {} drawing", "{} style", "drawn in a {} style"),
    "es": ("un dibujo {}", "estilo {}"),
    "ru": ("стиль {}", "рисунок в стиле {}"),
}
THINGS = {"en": "thing", "es": "cosa", "ru": "вещь"}


def style_captions(style: str) -> list[str]:
    """What can be said of the style of a picture alone, in three languages."""
    words = STYLES[style]
    return [said.format(word) for language in LANGUAGES for word in words.words(language) for said in MANNERS[language]]


def colour_captions(colour: str) -> list[str]:
    """What can be said of the colour of a picture alone, in three languages."""
    return [coloured(THINGS[language], colour, language, random.Random(0)) for language in LANGUAGES]
