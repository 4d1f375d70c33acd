"""Emoji sets: which icons are pictures of things, and what they are called in each language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from lienzo.data.archives import read_package
from lienzo.data.emojibase import Emoji, Emojibase, plain_hexcode
from lienzo.data.iconify import Icon, read_icon_set
from lienzo.data.records import Drawing
from lienzo.data.words import clean_name, concept_of, slug, unique

_SKIN_SUFFIX = re.compile(r"-(?:medium-light|medium-dark|light|medium|dark)$")
_DROPPED_GROUPS = frozenset({"flags", "component"})
_DROPPED_SUBGROUPS = frozenset(
    "transport-sign arrow religion zodiac av-symbol gender math punctuation currency keycap alphanum".split()
)
_SIGN = re.compile(
    r"(?:^|-)(?:letters?|digit|keycap|button|flag|arrows?|exclamation|symbol|squared|ideograph|mark|sign|"
    r"japanese-[a-z-]+-button|input|trade|registered|copyright|regional-indicator|clock\d+\w*|skin-tone|\w*flag|"
    r"trump|greta-thunberg)(?:-|$)|^.{1,2}$"
)
_SYMBOL_NAME = re.compile("button|mark|loop|sign|symbol|badge|asterisk|copyright|registered|regional")
_OPENMOJI_SIGNS = frozenset(
    "brand emergency flags interaction queer-symbols symbol-other symbols technology ui-element".split()
)


def is_skin_variant(name: str, names: frozenset[str], base: Emojibase) -> bool:
    """Is the key a skin-tone variant of another key of its set?

    Fluent's keys end in ``-light`` ... ``-dark`` instead of naming a tone; ``police-car-light`` ends so too and is
    an emoji of its own, which its own entry tells.
    """
    if "skin-tone" in name:
        return True
    stem = _SKIN_SUFFIX.sub("", name)
    if stem == name or base.find(None, (name,)) is not None:
        return False
    return stem in names or is_skin_variant(stem, names, base)


def _is_thing(key: str, emoji: Emoji | None) -> bool:
    if emoji is None:
        return _SIGN.search(key) is None
    if emoji.group in _DROPPED_GROUPS or emoji.subgroup in _DROPPED_SUBGROUPS:
        return False
    if emoji.subgroup == "geometric" and re.search("small|medium", emoji.name):
        return False  # all drawings fill their square: sizes cannot be told apart
    return emoji.group not in ("symbols", "") or _SYMBOL_NAME.search(emoji.name) is None


def emoji_drawings(
    source: str,
    style: str,
    package: Path,
    base: Emojibase,
    named_only: bool = False,
    signs: frozenset[str] = frozenset(),
) -> Iterator[Drawing]:
    """The pictures of an Iconify emoji set without flags, skin-tone variants, letters and boxed symbols.

    Args:
        source: name of the set in the corpus; `style` is the word for it in captions.
        named_only: drop icons whose key no emoji name explains (sets whose keys are run-together words).
        signs: hexcodes to leave out besides.
    """
    icons = read_icon_set(package)
    keys = frozenset(name for icon in icons.icons for name in icon.names)
    hexcodes = {name: hexcode for hexcode, name in icons.characters.items()}
    seen: set[str] = set()
    for icon in icons.icons:
        hexcode = next((hexcodes[name] for name in icon.names if name in hexcodes), None)
        if any(is_skin_variant(name, keys, base) for name in icon.names):
            continue
        if hexcode and plain_hexcode(hexcode) in base.skin_tones | signs:
            continue
        emoji = base.find(hexcode, icon.names)
        if not _is_thing(icon.names[0], emoji) or (named_only and emoji is None) or icon.names[0] in seen:
            continue
        seen.add(icon.names[0])
        yield _drawing(icon, emoji, source, style, icons.licence, icons.author)


def _drawing(icon: Icon, emoji: Emoji | None, source: str, style: str, licence: str, author: str) -> Drawing:
    others = [clean_name(re.sub(r"(?<=[a-z])\d+$", "", name).replace("-", " ")) for name in icon.names]
    name = emoji.name if emoji else others[0]
    captions = {language: list(texts) for language, texts in emoji.captions.items()} if emoji else {}
    known = captions.get("en", [])
    captions["en"] = unique([name, *(other for other in others if " " in other), *known])
    return Drawing(
        slug=slug(icon.names[0]),
        concept=concept_of(name),
        name=name,
        captions=captions,
        style=style,
        source=source,
        licence=licence,
        author=author,
        data=icon.svg.encode(),
    )


def openmoji_signs(tags_package: Path) -> frozenset[str]:
    """From npm's `openmoji`: the hexcodes of its own extra signs (brands, flags, interface marks)."""
    for _, content in read_package(tags_package, lambda name: name == "data/openmoji.json"):
        return frozenset(
            plain_hexcode(entry["hexcode"])
            for entry in json.loads(content)
            if (entry["group"] == "extras-unicode" and entry["subgroups"] != "food-drink")
            or (entry["group"] == "extras-openmoji" and entry["subgroups"] in _OPENMOJI_SIGNS)
        )
    return frozenset()
