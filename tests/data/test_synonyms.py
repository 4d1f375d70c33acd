"""Everyday words lead to names that the bundled painter remembers."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from lienzo.data.synonyms import plainer, synonym, synonyms
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve


@pytest.fixture(scope="module")
def remembered() -> dict[str, set[str]]:
    """The styles in which the bundled painter remembers each name."""
    painter: Any = load_model(resolve("painter"))
    memory, styles, found = painter.memory, painter.config["styles"], defaultdict(set)
    for name, style in zip(memory.name.tolist(), memory.style.tolist(), strict=True):
        found[memory.names[name]].add(styles[style])
    return found


def test_each_name_is_remembered(remembered: dict[str, set[str]]) -> None:
    assert {name for name in synonyms().values() if not remembered[name]} == set()


def test_words_that_are_remembered_themselves_have_no_other(remembered: dict[str, set[str]]) -> None:
    assert {word for word in synonyms() if remembered.get(word, set()) - {"clip art"}} == set()


def test_words() -> None:
    assert synonym("king") == "prince"
    assert synonym("Cell-Phone") == "mobile phone"
    assert synonym("fox") is None


def test_words_that_a_drawing_hardly_shows() -> None:
    assert plainer("little old boat") == "boat"
    assert plainer("wooden boat") == "wooden boat"
    assert plainer("little") == "little"
