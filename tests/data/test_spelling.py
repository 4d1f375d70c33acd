"""Emoji are read by their names, and nothing else changes."""

from __future__ import annotations

import pytest

from lienzo.data.spelling import spelled


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 🦊 in a 🎩", "a fox in a top hat"),
        ("🦊🍕", "fox and pizza"),
        ("🐱 🐶", "cat face and dog face"),
        ("❤️", "red heart"),
        ("❤", "red heart"),
        ("👍🏽 and 👍🏿", "thumbs up and thumbs up"),
        ("👩‍🚀", "woman astronaut"),
        ("☕, watercolor", "hot beverage, watercolor"),
        ("кот в 👑", "кот в crown"),
        ("🦊:2 | 🌳:-1", "fox:2 | deciduous tree:-1"),
    ],
)
def test_emoji(text: str, words: str) -> None:
    assert spelled(text) == words


@pytest.mark.parametrize(
    "text", ["", "a fox , red", "  un  zorro,  acuarela", "рыжая лиса", "חתול", "猫", "© 12# *", "a–b…"]
)
def test_other_texts_stay(text: str) -> None:
    assert spelled(text) == text
