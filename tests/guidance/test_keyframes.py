"""Key frames: numbers and formulas of the frame, parsed and never evaluated as code."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.errors import BadInput
from lienzo.guidance.keyframes import MAX_DEPTH, MAX_LENGTH, parse_keyframes


@pytest.mark.parametrize(
    ("text", "frame", "value"),
    [
        ("1.05", 7, 1.05), ("-3", 0, -3), (1.5, 9, 1.5), ("0:(1), 10:(1.05)", 0, 1), ("0:(1), 10:(1.05)", 5, 1.025),
        ("0:(1), 10:(1.05)", 10, 1.05), ("0:(1), 10:(1.05)", 99, 1.05), ("4:(2), 8:(4)", 0, 2),
        ("4:(2), 8:(4)", 5, 2.5),
        ("10:(2), 0:(1)", 5, 1.5), ("0: 1, 10: 2,", 5, 1.5), ("3:(7)", 1, 7), ("0:(1),5:(max(2, t)),10:(3)", 5, 5),
    ],
)  # fmt: skip
def test_values_run_linearly_from_key_to_key(text: str, frame: int, value: float) -> None:
    assert parse_keyframes(text).at(frame) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "t", "value"),
    [
        ("1+2*3", 0, 7), ("(1+2)*3", 0, 9), ("2**3**2", 0, 512), ("-2**2", 0, -4), ("2**-1", 0, 0.5), ("--3", 0, 3),
        ("7%4", 0, 3), ("8/2/2", 0, 2), ("10-3-2", 0, 5), ("t*2", 6, 12), ("min(t, 4)", 9, 4), ("max(1, -t)", 3, 1),
        ("abs(0-t)", 3, 3), ("1.5e2", 0, 150), (".5", 0, 0.5), ("e", 0, math.e), ("sqrt(t)", 9, 3),
        ("1 + 0.02*sin(2*pi*t/24)", 6, 1.02), ("cos(pi)", 0, -1), ("floor(t/4)", 11, 2), ("log(exp(2))", 0, 2),
        ("0:(t), 10:(2*t)", 5, 7.5),
    ],
)  # fmt: skip
def test_arithmetic(text: str, t: int, value: float) -> None:
    assert parse_keyframes(text).at(t) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"), ("  ", "empty"), ("zoom", "'zoom' has no place there"), ("0:(1", "it ends too early"),
        ("0:()", "cannot be read"), ("0:(1)(2)", "'(' has no place"), ("0:(1) 10:(2)", "'10' has no place"),
        ("a:(1)", "write frame:(value)"), ("-1:(1)", "write frame:(value)"), ("0:(1), , 5:(2)", "write frame:(value)"),
        ("0:(1), 0:(2)", "given twice"), ("1:(__import__('os'))", "'_' has no place"), ("(1).real", "'.' has no place"),
        ("sin", "ends too early"), ("min(1)", "')' has no place"), ("sin(1,2)", "',' has no place"),
        ("1 if t else 2", "'if' has no place"), ("[1]", "'[' has no place"), ("0:(1);5:(2)", "';' has no place"),
        ("(" * 200 + "1" + ")" * 200, f"more than {MAX_DEPTH}"), ("2**" * 200 + "1", "cannot be read"),
        ("1" * (MAX_LENGTH + 1), str(MAX_LENGTH)), ("١", "has no place"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_keyframes(text).at(0)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text", ["1/t", "log(t)", "sqrt(0-1)", "9**9**9", "exp(1000)", "0:(1e999)", "(0-8)**0.5", "t%0"]
)
def test_a_formula_without_a_finite_value_names_the_frame(text: str) -> None:
    with pytest.raises(BadInput, match="no finite value at frame 0"):
        parse_keyframes(text).at(0)


@given(st.text(alphabet="0123456789.:(),+-*/%t sinpe^_x[]'\"", max_size=60))
def test_any_text_gives_a_number_or_one_sentence(text: str) -> None:
    value = 0.0
    with suppress(BadInput):
        value = parse_keyframes(text).at(3)
    assert math.isfinite(value)
