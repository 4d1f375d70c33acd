"""What every data set looks like to a recipe: square pictures by row, with captions or labels beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from lienzo.core.errors import BadInput


class Pictures(Protocol):
    """Square pictures by row, in memory, mapped from a cache, or decoded on demand: (N, S, S, 3) uint8."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S, 3)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The pictures of an integer array of rows: (len(rows), S, S, 3) uint8. Safe to call from several threads."""
        ...


@dataclass(frozen=True)
class Chosen:
    """Some rows of other pictures."""

    pictures: Pictures
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.pictures.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.pictures[self.rows[rows]]


@dataclass(frozen=True)
class DataSet:
    """Pictures and what is known of each.

    Attributes:
        images: the pictures.
        names: what to call each in messages.
        captions: the captions of each, none or several; empty when no picture has any.
        labels: (N,) int64 class of each, or None.
        label_names: the classes.
        fingerprint: changes when the data do.
        problems: a sentence for each item that was passed over, and for what else a person should know.
    """

    images: Pictures
    names: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...] = ()
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    fingerprint: str = ""
    problems: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.images.shape[1]

    def select(self, rows: Sequence[int] | np.ndarray) -> DataSet:
        """Some items, in the given order; classes keep their numbers."""
        chosen = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            images=chosen_rows(self.images, chosen),
            names=tuple(self.names[i] for i in chosen),
            captions=tuple(self.captions[i] for i in chosen) if self.captions else (),
            labels=None if self.labels is None else self.labels[chosen],
        )


def chosen_rows(pictures: Pictures, rows: np.ndarray) -> Pictures:
    """Some rows of pictures; a choice of a choice is one choice."""
    if isinstance(pictures, Chosen):
        return Chosen(pictures.pictures, pictures.rows[rows])
    return Chosen(pictures, rows)


def split_held(data: DataSet, share: float) -> tuple[DataSet, DataSet]:
    """The items to train on and those withheld for evaluation.

    Each item's place follows from a hash of its name alone: it stays where it is when others are added, and the
    share is met on average. When no hash falls to one side of two or more items, the nearest item goes there.

    Args:
        data: the items.
        share: of the items to withhold, in [0, 1).

    Raises:
        BadInput: the share is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise BadInput(f"The share of withheld items must be at least 0 and below 1, not {share}.")
    places = np.array([_place(name) for name in data.names])
    held = places < share
    if share > 0 and len(data) >= 2:
        held[np.argmin(places)] = True
        held[np.argmax(places)] = False
    return data.select(np.flatnonzero(~held)), data.select(np.flatnonzero(held))


def _place(name: str) -> float:
    """A number in [0, 1) that only the name decides."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=6, person=b"held").digest()
    return int.from_bytes(digest, "big") / 2**48
