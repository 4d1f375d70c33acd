"""What a source says about its pictures before any is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lienzo.core.text import printable


@dataclass(frozen=True)
class Listing:
    """Pictures that can be read by row.

    Attributes:
        title: what to call the source in messages.
        names: a name for each picture, different from all others.
        read: the file of a picture by row; raises BadInput. Safe to call from several threads.
        stamps: for each picture what changes with its content: length in bytes, and time or place.
        captions: as in `DataSet`.
        labels: as in `DataSet`.
        label_names: as in `DataSet`.
        problems: sentences for a person.
    """

    title: str
    names: tuple[str, ...]
    read: Callable[[int], bytes] = field(repr=False)
    stamps: tuple[tuple[int, int], ...] = field(repr=False)
    captions: tuple[tuple[str, ...], ...] = ()
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


def count_of(names: Sequence[str], noun: str, one: str = "", many: str = "") -> str:
    """How many there are, the first of them, and a verb: "3 pictures (the first: 'a.png') are"."""
    first = printable(names[0], 100)
    if len(names) == 1:
        return f"1 {noun} ('{first}') {one}".rstrip()
    return f"{len(names)} {noun}s (the first: '{first}') {many}".rstrip()
