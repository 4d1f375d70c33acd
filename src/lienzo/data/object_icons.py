"""Icon sets that are not emoji, reduced to those icons that picture an object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lienzo.data.emojibase import Emojibase
from lienzo.data.iconify import IconSet, read_icon_set
from lienzo.data.records import Drawing
from lienzo.data.words import clean_name, concept_of, slug

ICON_PARK_CATEGORIES = frozenset(
    "Animals Baby Build Clothes Energy Foods Hardware Health Industry Life Makeups Measurement Music Safe Sports "
    "Travel Weather Time Emoji".split()
)
_ICON_PARK_SIGN = re.compile(
    r"application|^ppt|disabled|zodiac|-app$|^(?:add|close|bad|down|up|left|right|more|no|collect|delete|concern|reduce|airplay|"
    r"signal|wifi|usb|memory|cpu|hdmi|asterisk|abnormal|composition|history|acceleration|brand|baokemeng)\b|"
    r"-(?:brand|tips|failure|failed|error|success|add|minus|delete|key|music-list)$|play|record|volume|voice"
)
_GAME_ICON_SIGN = re.compile(
    r"^(?:abstract|card|dice|tarot|perspective|level|rank|uncertainty|plain|infinity|divided|inverted|"
    r"\d+-of|contract|expand|resize|move|body-height|convergence|divergence|cycle|health|save|load|player)\b|"
    r"card|suit|arrow-(?:dunk|cluster)|-(?:one|two|three|four|five|six)$|^(?:african|south)|africa$|america$|"
    r"^(?:algeria|angola|argentina|austria|belgium|belize|bolivia|brazil|bulgaria|colombia|cuba|ecuador|egypt|"
    r"el-salvador|france|french|guatemala|guyana|haiti|honduras|hungary|india|iraq|japan|jordan|kenya|korea|libya|"
    r"lithuania|mali|mexico|morocco|mozambique|nicaragua|niger|nigeria|panama|paraguay|peru|poland|portugal|"
    r"romania|saudi-arabia|serbia|spain|sri-lanka|switzerland|texas|thailand|togo|tunisia|uruguay|venezuela)$"
)


def icon_park_drawings(package: Path, base: Emojibase) -> Iterator[Drawing]:
    """IconPark's line icons of things (categories of interface signs are left out)."""
    icons = read_icon_set(package)
    kept = frozenset(name for category in ICON_PARK_CATEGORIES for name in icons.categories.get(category, []))
    chosen = [
        (icon.names[0], icon.svg)
        for icon in icons.icons
        if icon.names[0] in kept and not _ICON_PARK_SIGN.search(icon.names[0])
    ]
    yield from _drawings(chosen, icons, base, "icon-park", "line icon")


def game_icon_drawings(package: Path, base: Emojibase) -> Iterator[Drawing]:
    """The black silhouettes of game-icons.net without abstract marks, playing cards, dice and maps."""
    icons = read_icon_set(package)
    chosen = [(icon.names[0], icon.svg) for icon in icons.icons if not _GAME_ICON_SIGN.search(icon.names[0])]
    yield from _drawings(chosen, icons, base, "game-icons", "black silhouette")


def _drawings(
    chosen: list[tuple[str, str]], icons: IconSet, base: Emojibase, source: str, style: str
) -> Iterator[Drawing]:
    for key, svg in chosen:
        name = clean_name(_without_number(key).replace("-", " "))
        yield Drawing(
            slug=slug(key),
            concept=concept_of(name),
            name=name,
            captions={"en": [name], **base.translations(name)},
            style=style,
            source=source,
            licence=icons.licence,
            author=icons.author,
            data=svg.encode(),
        )


def _without_number(key: str) -> str:
    """``bottle-three`` is a third bottle: the number is no part of the name."""
    return re.sub(r"-(?:one|two|three|four|five|six|seven|eight|\d+)$", "", key)
