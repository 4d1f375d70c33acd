"""One `Options` model a task: the source of its flags, its JSON, its form, its docs and its saved recipe."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from lienzo.core.errors import BadInput


class Options(BaseModel):
    """Base of every task's options. Each field carries a docstring with its unit, and bounds where it has any.

    `presets` maps a name to the fields that it changes; a value given by the user always wins over a preset.
    """

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True)

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def make(cls, preset: str | None = None, **given: Any) -> Self:
        """Validated options: defaults, then the preset, then what was given.

        Raises:
            BadInput: with one sentence naming the field, what was given, and what would be right.
        """
        if preset is not None and preset not in cls.presets:
            there = f"choose one of {', '.join(cls.presets)}" if cls.presets else "there are none here"
            raise BadInput(f"There is no preset '{preset}'; {there}.")
        try:
            return cls(**{**(cls.presets[preset] if preset else {}), **given})
        except ValidationError as error:
            raise BadInput(one_sentence(error)) from error


def one_sentence(error: ValidationError) -> str:
    """The first problem of a pydantic error as one sentence, without links or type codes."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "options"
    given = repr(first.get("input"))
    given = given if len(given) <= 80 else f"{given[:80]}…"
    problem = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "extra_forbidden":
        return f"There is no option '{name}'."
    if first["type"] == "missing":
        return f"Option '{name}' is needed."
    if first["type"] in ("value_error", "assertion_error"):
        return f"{name}: {problem}."
    if problem.startswith("Input should be "):
        return f"Option '{name}' was {given}; it should be {problem.removeprefix('Input should be ')}."
    return f"Option '{name}' was {given}: {problem[0].lower()}{problem[1:]}."
