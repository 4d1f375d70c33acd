"""Schedules as text: parsed, never evaluated, and quickly refused."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.errors import BadInput
from lienzo.core.values import MAX_STEPS, Value, parse_value


@pytest.mark.parametrize("text", [12, 12.0, "12", " 12 ", "+12", "1.2e1", "12.", "[12]*400", "[12]", "0:(12)", "7: 12"])
def test_constants(text: str | float) -> None:
    value = parse_value(text)
    assert [value.at(p) for p in (0, 0.3, 1)] == [12, 12, 12]


def test_lists_are_steps_stretched_over_the_run() -> None:
    value = parse_value("[12]*400+[4]*600")
    assert [value.at(p) for p in (0, 0.3999, 0.4, 0.9, 1)] == [12, 12, 4, 4, 4]
    assert parse_value("[1, 2] + [3]*2") == Value(((0, 1), (0.25, 2), (0.5, 3)))
    assert parse_value("[1]*0+[2]") == Value(((0, 2),))


def test_key_frames_are_linear_between() -> None:
    value = parse_value("0:(4), 500:(12), 1000:(-12),")
    assert [value.at(p) for p in (0, 0.25, 0.5, 0.75, 1)] == [4, 8, 12, 0, -12]
    assert parse_value("10: (1e1), 0: .5") == Value(((0, 0.5), (1, 10)), smooth=True)
    late = parse_value("5:(1), 10:(2)")
    assert [late.at(p) for p in (0, 0.5, 0.75)] == [1, 1, 1.5]


def test_two_frames_at_one_place_jump() -> None:
    value = parse_value("0:1, 5:1, 5:3, 10:3")
    assert [value.at(p) for p in (0.49, 0.51)] == [1, 3]


HOSTILE = [
    "", " ", "__import__('os').system('true')", "[__import__('os')]*3", "lambda: 1", "{1: 2}", "[12]*-1", "[12]**9",
    "[1]*0", "[12]*400+", "+", "[]", "[1;2]", "[1,2]*3", "(1)", "0:(4", "0:4)", "0:(4), x", "1:2:3", "nan", "inf",
    "-inf", "0:(nan)", "[inf]", "1e999", "[1e999]", "0:1e999", "12 13", "1_000", "0x10", "9**9", "[9]*999999999",
    "[1]*" + "9" * 5000, "9" * 5000, "9" * 5000 + ":1", "0:%s" % ("9" * 5000), f"[1]*{MAX_STEPS + 1}", "\0", "４²",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_everything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_value(text)
    assert str(caught.value).startswith("The schedule")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "0:1 ," * 60 + "!",
        "0:11," * 60 + "!",
        "0:(1" + " " * 30_000,
        "[" + "1," * 20_000 + "!",
        "[" + "1" * 30_000 + "!",
        "1" * 30_000 + "!",
        "[1]" + " " * 30_000 + "*",
        " " * 30_000 + "!",
    ],
)
def test_no_text_takes_longer_than_its_length(text: str) -> None:
    began = time.process_time()
    with pytest.raises(BadInput):
        parse_value(text)
    assert time.process_time() - began < 2


@given(st.text(alphabet="0123456789.+-*e()[]:, n", max_size=40))
def test_any_text_gives_a_finite_value_or_a_sentence(text: str) -> None:
    try:
        value = parse_value(text)
    except BadInput:
        return
    assert all(math.isfinite(value.at(p)) for p in (0, 0.1, 0.5, 1))
