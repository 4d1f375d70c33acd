"""Things chosen by name with settings of their own, in one line: ``hex; cells=40``, ``palette:2; colours=red``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lienzo.core.errors import BadInput


@dataclass(frozen=True)
class Choice:
    """A name, a weight (1 unless given) and settings as text."""

    name: str
    weight: float
    settings: dict[str, str]


def parse_choice(text: str) -> Choice:
    """Read ``NAME[:WEIGHT][; KEY=VALUE]...``.

    Raises:
        BadInput: there is no name, the weight is no number, or a part after a semicolon is not KEY=VALUE.
    """
    head, *parts = (part.strip() for part in text.split(";"))
    name, colon, number = (part.strip() for part in head.partition(":"))
    settings = {}
    for part in filter(None, parts):
        key, sign, value = (piece.strip() for piece in part.partition("="))
        if not key or not sign:
            raise BadInput(f"{text[:80]!r} has the part {part[:40]!r}; write settings as 'name; key=value'.")
        if key in settings:
            raise BadInput(f"{text[:80]!r} gives '{key}' twice; give it once.")
        settings[key] = value
    if not name:
        raise BadInput(f"{text[:80]!r} has no name; write 'name; key=value'.")
    return Choice(name, _weight(text, number) if colon else 1.0, settings)


def _weight(text: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise BadInput(f"{text[:80]!r} has the weight {number[:20]!r}; write a number, as in 'name:2'.")
    return weight
