"""Names and tags of emoji in several languages, from the npm package `emojibase-data`."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lienzo.data.archives import read_package
from lienzo.data.words import clean_name, is_word, squashed, unique

LANGUAGES = ("en", "es", "ru")
_SHORTCODES = ("cldr", "iamcal", "github", "emojibase", "joypixels")


@dataclass(frozen=True, slots=True)
class Emoji:
    """One emoji: English name, captions by language (the name first, then tags), Unicode group and subgroup."""

    hexcode: str
    name: str
    captions: dict[str, list[str]]
    group: str
    subgroup: str


@dataclass(frozen=True, slots=True)
class Emojibase:
    """Emoji by hexcode (without FE0F), hexcodes by squashed name, and the hexcodes of skin-tone variants."""

    by_hexcode: dict[str, Emoji]
    by_name: dict[str, str]
    skin_tones: frozenset[str]

    def find(self, hexcode: str | None, names: tuple[str, ...]) -> Emoji | None:
        """The emoji of a hexcode, else of the first name that is known."""
        if hexcode and plain_hexcode(hexcode) in self.by_hexcode:
            return self.by_hexcode[plain_hexcode(hexcode)]
        for name in names:
            if squashed(name) in self.by_name:
                return self.by_hexcode.get(self.by_name[squashed(name)])
        return None

    def translations(self, name: str) -> dict[str, list[str]]:
        """The other languages' words for an English name that is exactly the name of an emoji."""
        emoji = self.find(None, (name,))
        if emoji is None or squashed(emoji.name) != squashed(name):
            return {}
        return {language: texts[:1] for language, texts in emoji.captions.items() if language != "en"}


def plain_hexcode(hexcode: str) -> str:
    """A hexcode in capitals without the presentation selector FE0F, which sources write or leave out at will."""
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def read_emojibase(path: Path) -> Emojibase:
    """Read the package: English gives the groups and the names to find by, each language gives captions."""
    wanted = {f"{language}/data.json" for language in LANGUAGES} | {"meta/groups.json"}
    wanted |= {f"en/shortcodes/{name}.json" for name in _SHORTCODES}
    files = {name: json.loads(content) for name, content in read_package(path, wanted.__contains__)}
    captions: dict[str, dict[str, list[str]]] = {}
    for language in LANGUAGES:
        for entry in files[f"{language}/data.json"]:
            texts = unique([clean_name(entry["label"]), *filter(is_word, entry.get("tags", []))])
            captions.setdefault(plain_hexcode(entry["hexcode"]), {})[language] = texts
    english, groups = files["en/data.json"], files["meta/groups.json"]
    by_hexcode = {}
    for entry in english:
        hexcode = plain_hexcode(entry["hexcode"])
        by_hexcode[hexcode] = Emoji(
            hexcode,
            clean_name(entry["label"]),
            captions[hexcode],
            groups["groups"].get(str(entry.get("group")), ""),
            groups["subgroups"].get(str(entry.get("subgroup")), ""),
        )
    skins = frozenset(plain_hexcode(skin["hexcode"]) for entry in english for skin in entry.get("skins", []))
    shortcodes = [files.get(f"en/shortcodes/{name}.json", {}) for name in _SHORTCODES]
    return Emojibase(by_hexcode, _names(english, shortcodes), skins)


def _names(english: list[dict[str, Any]], shortcodes: list[dict[str, Any]]) -> dict[str, str]:
    """Squashed names -> hexcode: labels win over Unicode's character names, and those over short codes."""
    names = {squashed(entry["label"]): plain_hexcode(entry["hexcode"]) for entry in reversed(english)}
    for entry in english:
        hexcode = plain_hexcode(entry["hexcode"])
        if "-" not in hexcode:
            names.setdefault(squashed(unicodedata.name(chr(int(hexcode, 16)), "")), hexcode)
    for table in shortcodes:
        for hexcode, codes in table.items():
            for code in [codes] if isinstance(codes, str) else codes:
                names.setdefault(squashed(code), plain_hexcode(hexcode))
    names.pop("x", None)
    return names
