"""The lexicon's tables: rows of English, Spanish and Russian, and the forms of their words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lienzo.data.inflection import (
    folded,
    russian_forms,
    russian_stem,
    spanish_forms,
    spanish_stem,
    without_accents,
)
from lienzo.data.phrases import STYLES

TABLES = ("lexicon.tsv", "lexicon_cldr.tsv")
ENGLISH = "lexicon_english.txt"
STEMS: Mapping[str, Callable[[str], str]] = {"es": spanish_stem, "ru": russian_stem}
LOOSE = "~"  # before words that name a picture well enough where a prompt is nothing else


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        english: a word or a few.
        es: Spanish words and phrases in their base forms.
        ru: Russian ones.
        adjective: whether they stand before the thing in English.
    """

    english: str
    es: tuple[str, ...]
    ru: tuple[str, ...]
    adjective: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What a word or phrase is in English; see `Row`, and `LOOSE`. `base` is the form that the table has."""

    english: str
    adjective: bool = False
    loose: bool = False
    base: str = ""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What is known of a language.

    Attributes:
        words: entries by the forms of a word.
        phrases: entries by the stems of a phrase's words.
        english: forms of words that are English words too.
        vocabulary: English words that are no words of the language.
    """

    words: dict[str, Entry]
    phrases: dict[tuple[str, ...], Entry]
    english: frozenset[str]
    vocabulary: frozenset[str]


@cache
def open_lexicon(language: str) -> Lexicon:
    """What Lienzo brings for "es" or "ru": both tables, and the words for styles."""
    folder = Path(__file__).parent
    english = frozenset((folder / ENGLISH).read_text("utf-8").split())
    tables = [table_rows((folder / name).read_text("utf-8")) for name in TABLES]
    styles = [Row(style.en[0], style.es, style.ru, adjective=True) for style in STYLES.values()]
    return lexicon_of(language, [row for table in (*tables, styles) for row in table], english)


def table_rows(text: str) -> Iterator[Row]:
    """The rows of a table: English, Spanish, Russian, and "adj", between tabs; several words between strokes."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            english, spanish, russian, *kind = line.split("\t")
            es, ru = (tuple(filter(None, told.split("|"))) for told in (spanish, russian))
            yield Row(english, es, ru, kind == ["adj"])


def lexicon_of(language: str, rows: Sequence[Row], english: frozenset[str]) -> Lexicon:
    """The lexicon of some rows, of which earlier ones count for more.

    A word that stands in any row counts for more than a form made of another one, a loose one for less than both.

    Args:
        language: "es" or "ru".
        rows: of one table after another.
        english: English words that have the form of one of the language.
    """
    words: dict[str, Entry] = {}
    phrases: dict[tuple[str, ...], Entry] = {}
    stem = STEMS[language]
    for loose in (False, True):
        said = [
            ((base := word.removeprefix(LOOSE)).split(), Entry(row.english, row.adjective, loose, base))
            for row in rows
            for word in (row.es if language == "es" else row.ru)
            if word.startswith(LOOSE) == loose
        ]
        for parts, entry in said:
            if len(parts) > 1:
                phrases.setdefault(tuple(map(stem, parts)), entry)
            else:
                words.setdefault(folded(parts[0]), entry)
        for parts, entry in said:
            if len(parts) == 1:
                for form in forms_of(language, parts[0], entry.adjective):
                    words.setdefault(form, entry)
    if language == "es":
        for form, entry in list(words.items()):
            words.setdefault(without_accents(form), entry)
    vocabulary = {word for row in rows for word in folded(row.english).split()}
    return Lexicon(words, phrases, english, frozenset(vocabulary - words.keys()))


def forms_of(language: str, word: str, adjective: bool = False) -> set[str]:
    """The forms of a word of "es" or "ru", folded."""
    return russian_forms(word, adjective) if language == "ru" else spanish_forms(word, adjective)
