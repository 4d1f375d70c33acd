"""Flags made from options: names, kinds, help and what reaches the task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from lienzo.cli.flags import build_app, parse_and_run
from lienzo.core.errors import BadInput
from lienzo.core.options import Options


class Paint(Options):
    """Paint it."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {"dark": {"colour": "black"}}

    subject: str = Field(json_schema_extra={"positional": True})
    """What."""
    wide_name: int = Field(3, ge=1, lt=9, json_schema_extra={"short": "-k"})
    """How many."""
    colour: Literal["red", "black"] = "red"
    """Which."""
    many: tuple[str, ...] = ()
    """Several."""
    where: Path | None = None
    """A place."""
    on: bool = True
    """A switch."""
    inside: float = Field(0.5, json_schema_extra={"hidden": True})
    """Not shown."""


class Files(Options):
    files: tuple[Path, ...] = Field((), json_schema_extra={"positional": True})
    """Files."""


class Texts(Options):
    texts: tuple[Annotated[str, Field(min_length=1, max_length=5)], ...] = Field(
        (), json_schema_extra={"positional": True}
    )
    """Short texts."""
    more: tuple[Annotated[str, Field(min_length=1, max_length=5)], ...] = ()
    """More of them."""


def parsed(options: type[Options], *arguments: str) -> tuple[Any, dict[str, Any]]:
    kept: list[tuple[Any, dict[str, Any]]] = []

    def then(made: Options, screen: dict[str, Any]) -> int:
        kept.append((made, screen))
        return 3

    assert parse_and_run(build_app("paint", "Paint it.", options, then), list(arguments)) == 3
    return kept[0]


def test_everything_arrives() -> None:
    made, screen = parsed(
        Paint,
        "a fox",
        "--wide-name",
        "5",
        "--colour",
        "black",
        "--many",
        "a",
        "b",
        "--where",
        "x/y",
        "--no-on",
        "--json",
    )
    assert made == Paint(subject="a fox", wide_name=5, colour="black", many=("a", "b"), where=Path("x/y"), on=False)
    assert screen == {"json": True, "quiet": False}


def test_what_is_not_given_is_left_to_the_options() -> None:
    made, screen = parsed(Paint, "a fox")
    assert made == Paint(subject="a fox")
    assert made.model_fields_set == {"subject"}
    assert screen == {"json": False, "quiet": False}
    assert parsed(Paint, "a fox", "--preset", "dark")[0].colour == "black"
    assert parsed(Paint, "a fox", "--preset", "dark", "--colour", "red")[0].colour == "red"


def test_any_number_of_files() -> None:
    assert parsed(Files)[0].files == ()
    assert parsed(Files, "a", "b c", "--", "-d")[0].files == (Path("a"), Path("b c"), Path("-d"))


@pytest.mark.parametrize(
    "arguments",
    [["a fox", "--inside", "1"], ["a fox", "--no-json"], ["a fox", "--preset", "x"], ["--wide-name"], ["a", "b"], []],
)
def test_what_does_not_fit_is_bad_input(arguments: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        parsed(Paint, *arguments)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a", ""], "Option 'texts.1' was '': string should have at least 1 character."),
        (["a", "--more", "b", "too long"], "Option 'more.1' was 'too long': string should have at most 5 characters."),
    ],
)
def test_bounds_of_one_among_several_are_told_in_a_sentence(arguments: list[str], sentence: str) -> None:
    assert parsed(Texts, "a", "b", "--more", "c")[0] == Texts(texts=("a", "b"), more=("c",))
    with pytest.raises(BadInput) as caught:
        parsed(Texts, *arguments)
    assert str(caught.value) == sentence


def test_help_says_defaults_and_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    parse_and_run(build_app("paint", "Paint it.", Paint, lambda *_: 0), ["--help"])
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "How many. [default: 3, at least 1, below 9]" in out
    assert "--inside" not in out
    assert "--on --no-on A switch. [default: True]" in out


def test_a_short_name_beside_the_long_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        parsed(Paint, "a fox", "-k", "4")[0] == parsed(Paint, "-k=4", "a fox")[0] == Paint(subject="a fox", wide_name=4)
    )
    assert parsed(Paint, "a fox", "--wide-name", "5")[0].wide_name == 5
    parse_and_run(build_app("paint", "Paint it.", Paint, lambda *_: 0), ["--help"])
    assert "--wide-name -k" in capsys.readouterr().out


def test_text_that_begins_with_a_minus() -> None:
    for arguments in (["-fox + dog"], ["fox", "--many", "-red one"]):
        with pytest.raises(BadInput, match=r"^'-(fox \+ dog|red one)' begins as options do; put it last, after --, or"):
            parsed(Paint, *arguments)
    assert parsed(Paint, "--many=-red one", "--", "-fox + dog")[0] == Paint(subject="-fox + dog", many=("-red one",))
    with pytest.raises(BadInput, match=r"Did you mean --many\?$"):
        parsed(Paint, "fox", "--mony", "a")


class Sift(Options):
    """Sift."""

    words: str | None = Field(None, json_schema_extra={"positional": True})
    """What."""
    filter: str = ""
    """Words."""
    count: int = Field(3, json_schema_extra={"short": "-k"})
    """How many."""


@pytest.mark.parametrize(
    "given", [["--filter", "-dog"], ["--filter=-dog"], ["cat", "--filter", "-dog", "--count", "4"]]
)
def test_a_text_may_begin_with_a_minus(given: list[str]) -> None:
    assert parsed(Sift, *given)[0].filter == "-dog"


@pytest.mark.parametrize("given", [["--filter", "--count", "4"], ["--filter", "-k", "4"], ["--filter", "--count=4"]])
def test_an_option_is_no_text(given: list[str]) -> None:
    with pytest.raises(BadInput, match="filter"):
        parsed(Sift, *given)


def test_after_two_minuses_nothing_is_joined() -> None:
    assert parsed(Sift, "--filter", "a", "--", "--filter")[0].words == "--filter"
