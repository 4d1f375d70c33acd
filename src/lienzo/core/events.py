"""Long work is a generator of events: the caller's `for` loop is the progress bar, the preview and the log.

Closing the generator cancels the work. Producers must never `yield` inside `torch.no_grad()`: the context
would stay switched on in the caller while the generator sleeps. Wrap the step instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of a named stage are finished, `seconds` after the stage began."""

    stage: str
    done: int
    total: int
    seconds: float = 0.0
    unit: str = "step"

    @property
    def seconds_per_unit(self) -> float:
        """Mean seconds a unit so far; 0 before the first."""
        return self.seconds / self.done if self.done else 0.0

    @property
    def eta(self) -> float:
        """Seconds left at the mean pace so far."""
        return self.seconds_per_unit * (self.total - self.done)


@dataclass(frozen=True, slots=True)
class Preview:
    """An unfinished picture: uint8 RGB, (H, W, 3)."""

    index: int
    step: int
    image: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture: uint8 RGB, (H, W, 3), with the recipe that makes it again and its scores."""

    index: int
    seed: int
    image: np.ndarray = field(repr=False)
    path: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured number with the protocol that makes it comparable, e.g. ``psnr`` under ``rgb,mean``.

    `interval` is where 95 % of redrawn samples put it, where that was measured.
    """

    name: str
    value: float
    protocol: str = ""
    images_seen: int | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state was written, complete and fsynced, to `path` after `images_seen` training pictures."""

    path: str
    images_seen: int


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the person at the screen; `level` is ``info`` or ``warning``."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to print: a title, column names, and cells as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Event = Progress | Preview | Picture | Metric | Checkpoint | Note | Table


def to_json(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready dict with its kind under ``event``; pixels are left out.

    JSON has no infinity and no "not a number": both become null.
    """
    values = {f.name: _finite(getattr(event, f.name)) for f in fields(event) if f.name != "image"}
    return {"event": type(event).__name__.lower(), **values}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
