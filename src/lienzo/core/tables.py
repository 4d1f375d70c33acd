"""Visible tables of names: ``"name": "module:attribute"``, imported on use, extended by entry points."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from lienzo.core.errors import BadInput


class Names(Mapping[str, str]):
    """A table of names. `table["euler"]` is its address; `table.load("euler")` imports and returns the thing.

    Other packages add rows through the entry-point group `lienzo.<kind>`; a row of ours is never replaced.
    """

    def __init__(self, kind: str, rows: dict[str, str]):
        self.kind = kind
        self.rows = rows

    def _all(self) -> dict[str, str]:
        group = f"lienzo.{self.kind.replace(' ', '_')}"
        return {point.name: point.value for point in entry_points(group=group)} | self.rows

    def __getitem__(self, name: str) -> str:
        rows = self._all()
        if name not in rows:
            close = difflib.get_close_matches(name, rows, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(sorted(rows))}."
            raise BadInput(f"There is no {self.kind} '{name}'; {hint}")
        return rows[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def load(self, name: str) -> Any:
        """The object behind a name.

        Raises:
            BadInput: when the table has no such name; the sentence names the closest one.
        """
        module, _, attribute = self[name].partition(":")
        return getattr(import_module(module), attribute)
