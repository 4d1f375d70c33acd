"""The query language and the vector that a query stands for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lienzo.core.errors import BadInput
from lienzo.search.query import MAX_TERMS, Term, parse_query, picture_term, query_vector


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pool.jpg", "a - b.png", "dog"):
        (tmp_path / name).write_bytes(b"")


def read(query: str) -> list[tuple[float, str]]:
    return [(term.weight, f"<{term.picture}>" if term.picture else term.text) for term in parse_query(query)]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("a yellow submarine", [(1, "a yellow submarine")]),
        ("2*dog + ./pool.jpg - fruit", [(2, "dog"), (1, "<pool.jpg>"), (-1, "fruit")]),
        ("  2:golden retriever  ", [(2, "golden retriever")]),
        ("2 * dog", [(2, "dog")]),
        (".5*dog+cat", [(0.5, "dog+cat")]),
        ("-0.5: blue sky + -1.5*sea", [(-0.5, "blue sky"), (-1.5, "sea")]),
        ("dog - -2*cat", [(1, "dog"), (2, "cat")]),
        ("- fruit", [(-1, "fruit")]),
        ("+ fruit", [(1, "fruit")]),
        ("t-shirt - black-and-white", [(1, "t-shirt"), (-1, "black-and-white")]),
        ("pool.jpg", [(1, "<pool.jpg>")]),
        ("POOL.JPG", [(1, "POOL.JPG")]),
        ("dog", [(1, "dog")]),
        ("3*pool.jpg - 2:pool.jpg", [(3, "<pool.jpg>"), (-2, "<pool.jpg>")]),
        ('"salt + pepper" - "a - b"', [(1, "salt + pepper"), (-1, "a - b")]),
        ("2*'salt + pepper'", [(2, "salt + pepper")]),
        ("“salt + pepper” + «a - b»", [(1, "salt + pepper"), (1, "a - b")]),
        ('"./a - b.png"', [(1, "<a - b.png>")]),
        ("the dog's bone", [(1, "the dog's bone")]),
        ("'tis the season", [(1, "'tis the season")]),
        ("'the dog's bone'", [(1, "the dog's bone")]),
        ("16:9 screen", [(1, "16:9 screen")]),
        ("10:30 in the morning", [(1, "10:30 in the morning")]),
        ("-5 degrees", [(1, "-5 degrees")]),
        ("C++ and a 3-4 split --", [(1, "C++ and a 3-4 split --")]),
        ("рыжая лиса + 🦊", [(1, "рыжая лиса"), (1, "🦊")]),
        ("dog\n+\tcat", [(1, "dog"), (1, "cat")]),
        ("0*dog + cat", [(0, "dog"), (1, "cat")]),
    ],
)
def test_what_a_query_means(query: str, terms: list[tuple[float, str]]) -> None:
    assert read(query) == terms


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "no text or picture in it"),
        ("   ", "no text or picture in it"),
        ("dog +", "after '\\+' at place 5"),
        ("dog + - cat", "two signs in a row at place 7"),
        ("dog -cat", "'-' at place 5 .* touches a word"),
        ("dog +2*cat", "'\\+' at place 5 .* touches a word"),
        ('dog -"cat"', "touches a word"),
        ('"dog', "place 1 of the query is not closed"),
        ('dog + "cat', "place 7 of the query is not closed"),
        ('"dog" cat', "at place 7, after the quoted text"),
        ('"" + dog', "no text or picture at place 1"),
        ("2*", "no text or picture at place 3"),
        ("2* + dog", "two signs in a row at place 4"),
        ("9999*dog", "weight at place 1 is too large"),
        ("dog + https://x.org/a.png", "an address at place 7"),
        ("data:image/png;base64,AAAA", "an address at place 1"),
        ("./nothing.png", "no picture './nothing.png'"),
        ("/", "is a folder"),
        ("a\0b", "zero byte at place 2"),
        ("a" * 10_001, "10001 letters"),
        (" + ".join(["a"] * (MAX_TERMS + 1)), "more than 64 terms"),
    ],
)
def test_what_is_no_query(query: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        parse_query(query)
    assert "\n" not in str(caught.value)


def test_any_text_is_read_or_refused_in_one_sentence() -> None:
    draw = random.Random(3)
    letters = ["dog", "2*", ":", "+", "-", " ", "  ", '"', "'", "./", "~", "1e9", "“", "\t", "\ud800", "9" * 400]
    for _ in range(3000):
        query = "".join(draw.choice(letters) for _ in range(draw.randrange(12)))
        try:
            terms = parse_query(query)
        except BadInput:
            continue
        assert terms
        assert all(np.isfinite(term.weight) for term in terms)


def test_a_query_takes_no_longer_than_its_length() -> None:
    for query in ("1" * 9999, "'" * 9999, "- " * 4999, " -" * 4999, "“ " * 4999, "2 " * 4999):
        try:
            parse_query(query)
        except BadInput:
            continue


def test_pictures_by_option(tmp_path: Path) -> None:
    assert picture_term("pool.jpg", -2) == Term(-2, picture=Path("pool.jpg"))
    for path, sentence in (("no.png", "no picture"), (tmp_path, "is a folder"), ("http://x/y.png", "an address")):
        with pytest.raises(BadInput, match=sentence):
            picture_term(path)


def test_terms_show_as_they_are_written() -> None:
    assert str(Term(1, "dog")) == "dog"
    assert str(Term(-0.5, "a\x1b[31mdog")) == "-0.5*a[31mdog"
    assert str(Term(2, picture=Path("pool.jpg"))) == "2*pool.jpg"


VECTORS = {"dog": [1, 0, 0], "cat": [0, 3, 0], "fruit": [0, 0, 2]}


def texts(words: Sequence[str]) -> np.ndarray:
    return np.array([VECTORS[word] for word in words], np.float32)


def test_the_vector_is_the_weighted_sum_of_unit_vectors() -> None:
    asked = []

    def encode(words: Sequence[str]) -> np.ndarray:
        asked.append(list(words))
        return texts(words)

    terms = parse_query("2*dog + ./pool.jpg - cat + 0*fruit")
    vector = query_vector(terms, encode, lambda path: np.array([0, 0, 5], np.float32))
    expected = np.array([2, -1, 1]) / np.sqrt(6)
    np.testing.assert_allclose(vector, expected, rtol=1e-6)
    assert vector.dtype == np.float32
    assert asked == [["dog", "cat", "fruit"]]


def test_texts_are_not_encoded_where_there_are_none() -> None:
    def refuse(words: Sequence[str]) -> np.ndarray:
        raise AssertionError(words)

    vector = query_vector(parse_query("pool.jpg"), refuse, lambda path: np.array([0, 4.0]))
    assert vector.tolist() == [0, 1]


@pytest.mark.parametrize("query", ["dog - dog", "2*dog - dog - dog", "0*dog", "0.3*dog - 0.1*dog - 0.2*dog"])
def test_a_query_that_cancels_out_is_refused(query: str) -> None:
    with pytest.raises(BadInput, match="cancels itself out"):
        query_vector(parse_query(query), texts, lambda path: np.zeros(3))


def test_an_empty_query_is_refused() -> None:
    with pytest.raises(BadInput, match="empty"):
        query_vector((), texts, lambda path: np.zeros(3))
