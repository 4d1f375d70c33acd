"""`lienzo show`: the recipe that a picture carries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from lienzo.core.events import Event, Note, Table
from lienzo.core.options import Options
from lienzo.core.text import printable


class Show(Options):
    """Show the recipe that a picture carries: prompt, seed, model and every option."""

    picture: Path = Field(json_schema_extra={"positional": True})
    """Picture made by Lienzo, or by any program that writes A1111's parameters."""
    strip: Path | None = None
    """Write a copy without any metadata there instead."""


def run(options: Show) -> Iterator[Event]:
    """Yields a Table of the recipe, or a Note."""
    from lienzo.imaging.metadata import read_recipe, strip

    if options.strip is not None:
        strip(options.picture, options.strip)
        yield Note(f"{options.strip.name} carries no metadata.")
        return
    recipe = read_recipe(options.picture)
    if recipe is None:
        yield Note(f"{options.picture.name} carries no recipe.", "warning")
        return
    rows: list[tuple[str, str]] = []
    for name, value in recipe.items():
        if isinstance(value, dict):
            rows += [(f"{name}.{key}", _shown(inner)) for key, inner in value.items() if inner is not None]
        else:
            rows.append((name, _shown(value)))
    yield Table(options.picture.name, ("field", "value"), tuple(rows))


def _shown(value: object) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
