"""Counted and declined words are led back to the name of one thing."""

from __future__ import annotations

import pytest

from lienzo.data.word_forms import MOST, base_forms


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("cats", "cat"), ("red hearts", "red heart"), ("boxes", "box"), ("cherries", "cherry"), ("wolves", "wolf"),
        ("gatos", "gato"), ("corazones rojos", "corazón rojo"), ("peces", "pez"), ("flores", "flor"),
        ("кота", "кот"), ("кошек", "кошка"), ("звёзд", "звезда"), 
        ("красных яблока", "красное яблоко"), ("деревьев", "дерево"),
    ],
)  # fmt: skip
def test_one_of_many(many: str, one: str) -> None:
    forms = base_forms(many, many=True)
    assert one in forms
    assert forms[-1] == many


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("собаку", "собака"),
        ("домом", "дом"),
        ("шляпе", "шляпа"),
        ("короне", "корона"),
        ("красной шляпе", "красная шляпа"),
    ],
)
def test_cases(said: str, name: str) -> None:
    assert name in base_forms(said)


def test_what_is_not_counted_stays_a_plural() -> None:
    assert base_forms("glasses") == ("glasses",)
    assert base_forms("un bus") == ("un bus",)


def test_long_phrases_have_few_forms() -> None:
    assert len(base_forms("красивой большой старой синей деревянной лодке")) <= MOST + 1
