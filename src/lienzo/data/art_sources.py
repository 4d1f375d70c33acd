"""The visible table of what the built-in corpus is made of: source, packages, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lienzo.data.emoji import emoji_drawings, openmoji_signs
from lienzo.data.emojibase import Emojibase, read_emojibase
from lienzo.data.iconify import read_icon_set
from lienzo.data.object_icons import game_icon_drawings, icon_park_drawings
from lienzo.data.openclipart import openclipart_drawings
from lienzo.data.paintings import painting_drawings
from lienzo.data.records import Drawing
from lienzo.data.tuxpaint import tuxpaint_drawings
from lienzo.data.wesnoth import wesnoth_drawings
from lienzo.data.words import singular


@dataclass(frozen=True, slots=True)
class Source:
    """One source: the packages it needs (rows of `packages.PACKAGES`) and its reader, given their files by name."""

    packages: tuple[str, ...]
    read: Callable[[Mapping[str, Path]], Iterator[Drawing]]
    title: str
    needs_resvg: bool = True


def _emoji(source: str, style: str, title: str, named_only: bool = False) -> Source:
    def read(files: Mapping[str, Path]) -> Iterator[Drawing]:
        base = read_emojibase(files["emojibase"])
        signs = openmoji_signs(files["openmoji-tags"]) if "openmoji-tags" in files else frozenset()
        return emoji_drawings(source, style, files[source], base, named_only, signs)

    extra = ("openmoji-tags",) if source == "openmoji" else ()
    return Source((source, "emojibase", *extra), read, title)


def _clip_art(files: Mapping[str, Path]) -> Iterator[Drawing]:
    base = read_emojibase(files["emojibase"])
    words = _words(base)
    for icon in read_icon_set(files["game-icons"]).icons:
        words |= {singular(word) for word in icon.names[0].split("-")}
    return openclipart_drawings(files["openclipart"], base, words)


def _words(base: Emojibase) -> set[str]:
    texts = (text for emoji in base.by_hexcode.values() for text in emoji.captions["en"])
    return {singular(word) for text in texts for word in text.lower().split()}


SOURCES: dict[str, Source] = {
    "noto": _emoji("noto", "soft shaded", "Noto Emoji"),
    "noto-v1": _emoji("noto-v1", "blob", "Noto Emoji 1, the blobs"),
    "fluent-emoji": _emoji("fluent-emoji", "glossy 3d", "Fluent Emoji"),
    "fluent-emoji-flat": _emoji("fluent-emoji-flat", "flat", "Fluent Emoji, flat"),
    "twemoji": _emoji("twemoji", "simple", "Twemoji"),
    "emojione": _emoji("emojione", "classic", "Emoji One 2 (EmojiTwo)"),
    "fxemoji": _emoji("fxemoji", "retro", "Firefox OS Emoji", named_only=True),
    "openmoji": _emoji("openmoji", "outlined", "OpenMoji"),
    "icon-park": Source(
        ("icon-park", "emojibase"),
        lambda files: icon_park_drawings(files["icon-park"], read_emojibase(files["emojibase"])),
        "IconPark",
    ),
    "game-icons": Source(
        ("game-icons", "emojibase"),
        lambda files: game_icon_drawings(files["game-icons"], read_emojibase(files["emojibase"])),
        "game-icons.net",
    ),
    "openclipart": Source(("openclipart", "emojibase", "game-icons"), _clip_art, "Open Clip Art Library 0.18"),
    "tuxpaint": Source(("tuxpaint",), lambda files: tuxpaint_drawings(files["tuxpaint"]), "Tux Paint stamps"),
    "wesnoth": Source(
        ("wesnoth",), lambda files: wesnoth_drawings(files["wesnoth"]), "The Battle for Wesnoth", needs_resvg=False
    ),
    "paintings": Source(
        ("gcompris",), lambda files: painting_drawings(files["gcompris"]), "Paintings of GCompris", needs_resvg=False
    ),
}
EMOJI_SOURCES = frozenset("noto noto-v1 fluent-emoji fluent-emoji-flat twemoji emojione fxemoji openmoji".split())
