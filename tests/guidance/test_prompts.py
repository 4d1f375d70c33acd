from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.errors import BadInput
from lienzo.guidance.prompts import Prompt, normalised_weights, parse_prompt, parse_prompts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", ("a cat", 1.0, -math.inf)),
        ("a cat:-0.5", ("a cat", -0.5, -math.inf)),
        ("a cat:2:0.9", ("a cat", 2.0, 0.9)),
        ("a cat:2:-inf", ("a cat", 2.0, -math.inf)),
        ("a:b", ("a:b", 1.0, -math.inf)),
        ("a:b:1.5", ("a:b", 1.5, -math.inf)),
        ("time 12:30", ("time 12", 30.0, -math.inf)),
        ("time 12\\:30", ("time 12:30", 1.0, -math.inf)),
        ("time 12\\:30:2", ("time 12:30", 2.0, -math.inf)),
        ("https://x.org:8080/a.png", ("https://x.org:8080/a.png", 1.0, -math.inf)),
        ("https://x.org:8080/a.png:3:0.5", ("https://x.org:8080/a.png", 3.0, 0.5)),
        ("C:\\art\\fox.png", ("C:\\art\\fox.png", 1.0, -math.inf)),
        ("C:\\art\\fox.png:2", ("C:\\art\\fox.png", 2.0, -math.inf)),
        ("from here to:inf", ("from here to:inf", 1.0, -math.inf)),
        ("my:nan", ("my:nan", 1.0, -math.inf)),
        ("a:-inf:2", ("a:-inf", 2.0, -math.inf)),
        ("a:", ("a:", 1.0, -math.inf)),
        ("1:2:3:4", ("1:2", 3.0, 4.0)),
    ],
)
def test_rules(text: str, expected: tuple[str, float, float]) -> None:
    prompt = parse_prompt(text)
    assert (prompt.text, prompt.weight, prompt.stop) == expected


def test_without_stops_only_the_last_number_counts() -> None:
    assert parse_prompt("a:1:2", stops=False) == Prompt("a:1", 2.0)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    prompt = parse_prompt(text)
    assert math.isfinite(prompt.weight)
    assert not math.isnan(prompt.stop)


def test_parallel_prompts() -> None:
    assert parse_prompts("a fox:2 | text:-0.5|a\\|b") == [Prompt("a fox", 2.0), Prompt("text", -0.5), Prompt("a|b")]
    assert parse_prompts("sea.png:2", image=True) == [Prompt("sea.png", 2.0, image=True)]
    for text in ("", "a||b", "a |", "  "):
        with pytest.raises(BadInput, match="empty part"):
            parse_prompts(text)


def test_weights_are_divided_by_the_size_of_their_sum() -> None:
    assert normalised_weights([3, 1]) == [0.75, 0.25]
    assert normalised_weights([1, -3]) == [0.5, -1.5]
    with pytest.raises(BadInput, match="sum to 0"):
        normalised_weights([1, -1])
