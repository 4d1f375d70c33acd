"""Counted and declined words are led back to the name of one thing."""

from __future__ import annotations

import pytest

from lienzo.data.word_forms import MOST, base_forms


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("cats", "cat"), ("red hearts", "red heart"), ("boxes", "box"), ("cherries", "cherry"), ("wolves", "wolf"),
        ("cookies", "cookie"), ("shoes", "shoe"), ("buses", "bus"), ("red tables", "red wooden table"),
        ("gatos", "gato"), ("corazones rojos", "corazón rojo"), ("peces", "fish"), ("flores", "flor"), ("soles", "sol"),
        ("gnomos", "gnomo"), ("кота", "кот"), ("кошек", "кошка"), ("звёзд", "звезда"), ("деревьев", "tree"),
        ("красных яблока", "red apple"), ("птенца", "птенец"), ("детей", "child"),
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
        ("Короне", "корона"),
        ("клоуна", "клоун"),
        ("красной шляпе", "red hat"),
        ("une table", "une wooden table"),
        ("королём", "prince"),
        ("a red couch", "a red couch and lamp"),
    ],
)
def test_cases(said: str, name: str) -> None:
    assert name in base_forms(said)


def test_each_of_many_has_its_other_name_before_all_of_them_together() -> None:
    assert base_forms("flowers", many=True) == ("sunflower", "bouquet", "flower", "flowers")


def test_what_is_not_counted_stays_a_plural() -> None:
    assert base_forms("glasses") == ("glasses",)
    assert base_forms("un bus") == ("a bus", "un bus")


def test_words_that_no_one_knows_stay() -> None:
    assert base_forms("бармаглота") == ("бармаглота",)
    assert base_forms("бармаглота и коня") == ("бармаглота and horse", "бармаглота и конь", "бармаглота и коня")


def test_long_phrases_have_few_forms() -> None:
    assert len(base_forms("boxes watches buses dresses foxes axes classes", many=True)) <= MOST + 1
    assert len(base_forms("красивой большой старой синей деревянной лошади")) == 3
