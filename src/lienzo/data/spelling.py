"""Emoji in words. The bundled models learned the drawings of emoji by these names."""

from __future__ import annotations

import re

_BESIDE = "\ue000"  # a private sign on both sides of an emoji's name
_MAYBE = re.compile("[\u203c-\U0010ffff]")  # no letters of Latin, Cyrillic, Arabic or Hebrew script
_SKIN = re.compile(r" (?:medium[- ])?(?:light|medium|dark) skin tone")


def spelled(text: str) -> str:
    """A text with the English name of each emoji in its place, and "and" between those that stand side by side.

    Example: ``"a 🦊 in a 🎩"`` gives ``"a fox in a top hat"``, ``"🦊🍕"`` gives ``"fox and pizza"``.
    """
    if not _MAYBE.search(text):
        return text
    import emoji  # here: to read its table takes longer than most texts do

    def name(_: str, data: dict[str, str]) -> str:
        return _BESIDE + _SKIN.sub("", data["en"].strip(":").replace("_", " ")) + _BESIDE

    found = emoji.replace_emoji(text, name)
    if found == text:
        return text
    found = re.sub(rf"{_BESIDE}\s*{_BESIDE}", " and ", found).replace(_BESIDE, " ")
    return re.sub(r" (?=[,.;:!?])", "", re.sub(r"\s+", " ", found)).strip()
