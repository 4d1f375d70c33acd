"""Options: presets, what wins, and one sentence for every kind of wrong value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import AfterValidator, Field

from lienzo.core.errors import BadInput
from lienzo.core.options import Options


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("only even numbers will do")
    return value


class Inner(Options):
    depth: int = 1


class Paint(Options):
    """Made up for these tests."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {"fast": {"steps": 2, "mode": "b"}, "plain": {}}

    subject: str = Field(max_length=20, min_length=2)
    """What."""
    steps: int = Field(10, ge=1, le=100)
    """How many."""
    share: float = Field(0.5, gt=0, lt=1)
    """How much."""
    mode: Literal["a", "b"] = "a"
    """Which."""
    path: Path = Path("x")
    """Where."""
    even: Annotated[int, AfterValidator(_even)] = 2
    """Twice something."""
    many: tuple[int, ...] = Field((), max_length=2)
    """Some."""
    inner: Inner = Inner()
    """Inside."""
    flag: bool = True
    """Whether."""


def test_defaults_then_preset_then_given() -> None:
    assert Paint.make(subject="fox").steps == 10
    made = Paint.make("fast", subject="fox", mode="a")
    assert (made.steps, made.mode) == (2, "a")
    assert Paint.make("plain", subject="fox") == Paint.make(subject="fox")


def test_docstrings_of_fields_are_their_help() -> None:
    assert Paint.model_fields["steps"].description == "How many."


def test_options_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Paint.make(subject="fox").steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"step": 3}, "There is no option 'step'."),
        ({"subject": None}, "Option 'subject' was None; it should be a valid string."),
        ({"subject": "x"}, "Option 'subject' was 'x': string should have at least 2 characters."),
        (
            {"subject": "x" * 5000},
            f"Option 'subject' was '{'x' * 79}…: string should have at most 20 characters.",
        ),
        ({"steps": 0}, "Option 'steps' was 0; it should be greater than or equal to 1."),
        ({"steps": 101}, "Option 'steps' was 101; it should be less than or equal to 100."),
        ({"steps": "many"}, "Option 'steps' was 'many'; it should be a valid integer, unable to parse string as an "
         "integer."),
        ({"steps": 1.5}, "Option 'steps' was 1.5; it should be a valid integer, got a number with a fractional part."),
        ({"share": 1}, "Option 'share' was 1; it should be less than 1."),
        ({"share": float("nan")}, None),
        ({"mode": "c"}, "Option 'mode' was 'c'; it should be 'a' or 'b'."),
        ({"path": 7}, None),
        ({"even": 3}, "even: only even numbers will do."),
        ({"many": (1, 2, 3)}, None),
        ({"many": ("x",)}, None),
        ({"inner": {"depth": "x"}}, None),
        ({"inner": {"width": 1}}, "There is no option 'inner.width'."),
        ({"flag": "maybe"}, None),
        ({"subject": "a\nb" * 9}, None),
    ],
)  # fmt: skip
def test_one_sentence_for_each_kind_of_error(given: dict[str, Any], sentence: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        Paint.make(**{"subject": "fox", **given})
    said = str(caught.value)
    assert sentence is None or said == sentence
    assert re.fullmatch(r"[^\n]{10,260}\.", said), said
    assert "http" not in said
    assert "[type=" not in said
    assert next(iter(given)) in said


def test_a_missing_option_is_named() -> None:
    with pytest.raises(BadInput, match=r"^Option 'subject' is needed\.$"):
        Paint.make()


def test_unknown_presets() -> None:
    with pytest.raises(BadInput, match=r"^There is no preset 'slow'; choose one of fast, plain\.$"):
        Paint.make("slow", subject="fox")
    with pytest.raises(BadInput, match=r"^There is no preset 'slow'; there are none here\.$"):
        Inner.make("slow")
