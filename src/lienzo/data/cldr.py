"""Names and keywords of emoji in English, Spanish and Russian, from Unicode's CLDR, as rows of a lexicon."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from lienzo.data.archives import read_package
from lienzo.data.emojibase import Emojibase
from lienzo.data.inflection import folded
from lienzo.data.lexicon_tables import LOOSE, Row

LANGUAGES = ("en", "es", "ru")
ALIKE = 0.6  # shared emoji, of all of either word, from which on two words mean the same
_PARTS = ("annotations", "annotationsDerived")
_GROUPS = frozenset("animals-nature food-drink travel-places activities objects".split())
_GENDERED = re.compile("200D-26(?:40|42)|1F468-|1F469-|1F9D1-")
_PLAIN = re.compile(r"[^\W\d_]+(?:[ '’\-][^\W\d_]+)*")
_SIGNS = re.compile("button|arrow|mark|sign|symbol|o'clock|thirty|flag")

Annotation = tuple[str, tuple[str, ...]]


def read_annotations(packages: Sequence[Path], language: str) -> dict[str, Annotation]:
    """The name and the keywords of each character, without FE0F, from CLDR's two packages of annotations."""
    found: dict[str, Annotation] = {}
    for package in packages:
        names = {f"{part}/{language}/annotations.json" for part in _PARTS}
        for _, content in read_package(package, names.__contains__):
            for told in json.loads(content).values():
                for character, entry in told["annotations"].items():
                    if "tts" in entry:
                        keywords = tuple(entry.get("default", ()))
                        name = entry["tts"][0].replace("’", "'")
                        found[character.replace("\ufe0f", "")] = (name, keywords)
    return found


def cldr_rows(annotations: Mapping[str, Mapping[str, Annotation]], base: Emojibase) -> list[Row]:
    """A row for each English name or keyword: the names of the same emoji, and the keywords that mean it.

    Keywords, and the names of faces and people, are loose.

    Args:
        annotations: by language.
        base: which emoji there are, and in which group.
    """
    said = {}  # the characters that are pictures, and whether of things rather than faces and people
    for hexcode, emoji in base.by_hexcode.items():
        character = "".join(chr(int(part, 16)) for part in hexcode.split("-"))
        signs = emoji.group in ("flags", "component", "symbols", "") or _SIGNS.search(emoji.name)
        if all(character in annotations[each] for each in LANGUAGES) and not signs and not _GENDERED.search(hexcode):
            said[character] = emoji.group in _GROUPS
    rows: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: {"es": {}, "ru": {}})
    for character in said:
        for language in ("es", "ru"):
            name = annotations[language][character][0]
            if _PLAIN.fullmatch(name):
                loose = "" if said[character] else LOOSE  # Russian faces are verbs: "спит"
                rows[annotations["en"][character][0]][language][loose + name] = None
    for language in ("es", "ru"):
        for word, english in _keywords(annotations["en"], annotations[language], said).items():
            rows[english][language][LOOSE + word] = None
    return [_row(english, rows[english]) for english in sorted(rows)]


def _row(english: str, told: Mapping[str, Mapping[str, None]]) -> Row:
    """A row without words that are the same in English."""
    same = folded(english)
    es, ru = (tuple(word for word in told[each] if folded(word).removeprefix(LOOSE) != same) for each in ("es", "ru"))
    return Row(english, es, ru)


def _keywords(
    english: Mapping[str, Annotation], foreign: Mapping[str, Annotation], things: Mapping[str, bool]
) -> dict[str, str]:
    """Keywords of things: of one emoji by its name, of several by the English word that is said of the same ones."""
    own, other = _emoji_of(english, things), _emoji_of(foreign, things)
    names = {folded(foreign[character][0]) for character in things}
    found: dict[str, str] = {}
    for word, emoji in other.items():
        if word in names or not _PLAIN.fullmatch(word) or not all(things[each] for each in emoji) or len(word) < 3:
            continue
        if len(emoji) == 1:
            found[word] = english[next(iter(emoji))][0]
            continue
        words = {said for each in emoji for said in (english[each][0], *english[each][1])}
        alike = {said: len(own[folded(said)] & emoji) / len(own[folded(said)] | emoji) for said in words}
        best = max(sorted(words), key=lambda said: (alike[said], -len(said)))
        if alike[best] >= ALIKE and _PLAIN.fullmatch(best):
            found[word] = best
    return found


def _emoji_of(annotations: Mapping[str, Annotation], things: Mapping[str, bool]) -> dict[str, set[str]]:
    """The emoji that each name or keyword, folded, is said of."""
    found: dict[str, set[str]] = defaultdict(set)
    for character in things:
        name, keywords = annotations[character]
        for word in (name, *keywords):
            found[folded(word)].add(character)
    return found


def table_text(rows: Sequence[Row], header: str) -> str:
    """Rows as the text of a table, under a header whose lines get a "#"."""
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += ["\t".join((row.english, "|".join(row.es), "|".join(row.ru))) for row in rows if row.es or row.ru]
    return "\n".join(lines) + "\n"
