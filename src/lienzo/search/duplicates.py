"""Pictures that are there twice: the same file, the same look, or nearly the same vector.

Groups are stars: each picture of a group is a copy of the one that is kept, never only a copy of a copy, so that a
chain of small changes does not end in a group of strangers.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from lienzo.core.events import Event, Progress
from lienzo.data.near_duplicates import signatures

BLOCK = 512
ROOM = 1 << 26  # cosines that are in memory at once: 256 MiB
LOOK = 0.97  # the least cosine of edges and of colours between pictures of the same look
THUMB = 64  # side of the pictures that looks are compared by
How = Literal["file", "look", "clip"]


class Copy(NamedTuple):
    """A picture that repeats the one that is kept; `score` is a cosine, 1 for the same file."""

    row: int
    how: How
    score: float


@dataclass(frozen=True)
class Group:
    """A picture that is kept and its copies, most alike first."""

    keep: int
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class Traits:
    """What pictures are compared by. Rows of all are the same pictures, the one to keep rather first.

    Attributes:
        digests: of the files' contents.
        thumbs: uint8 (N, 64, 64, 3), the whole picture squeezed into a square; None: looks are not compared.
        vectors: float32 (N, D), unit length; None: vectors are not compared.
        vector_threshold: the least cosine of vectors.
    """

    digests: Sequence[str]
    thumbs: np.ndarray | None = None
    vectors: np.ndarray | None = None
    vector_threshold: float = 0.98


def duplicate_groups(traits: Traits) -> Generator[Event, None, list[Group]]:
    """Groups of copies, largest first.

    Yields:
        Progress over pictures.
    """
    first: dict[str, int] = {}
    same: dict[int, list[int]] = {}
    for row, digest in enumerate(traits.digests):
        same.setdefault(first.setdefault(digest, row), []).append(row)
    leaders = np.array(sorted(same), np.int64)
    stars = yield from _stars(traits, leaders)
    groups = []
    for keep, alike in stars:
        copies = [Copy(row, "file", 1.0) for row in same[keep][1:]]
        copies += [Copy(row, how, score) for leader, how, score in alike for row in same[leader]]
        if copies:
            order = sorted(copies, key=lambda copy: (-copy.score, copy.row))
            groups.append(Group(keep, tuple(order)))
    return sorted(groups, key=lambda group: (-len(group.copies), group.keep))


def _stars(traits: Traits, rows: np.ndarray) -> Generator[Event, None, list[tuple[int, list[Copy]]]]:
    """Each picture that is nobody's copy, with those of `rows` after it that look like it or have its vector."""
    waves = ink = vectors = None
    if traits.thumbs is not None:
        parts = [signatures(traits.thumbs[rows[i : i + BLOCK]]) for i in range(0, len(rows), BLOCK)]
        waves, ink = (np.concatenate([part[i] for part in parts]) for i in (0, 1)) if parts else (None, None)
    if traits.vectors is not None:
        vectors = traits.vectors[rows]
    free = np.ones(len(rows), bool)
    stars: list[tuple[int, list[Copy]]] = []
    began = time.monotonic()
    block = max(min(BLOCK, ROOM // max(len(rows), 1)), 1)
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        look = _products(part, start, waves, ink)  # (n, N - start)
        alike = _products(part, start, vectors)
        for offset in range(len(rows[part])):
            row = start + offset
            if not free[row]:
                continue
            free[row] = False
            later = free[start:]
            by_look = (look[offset] >= LOOK) & later if look is not None else np.zeros(len(later), bool)
            by_clip = (alike[offset] >= traits.vector_threshold) & later if alike is not None else by_look & False
            copies = []
            for place in np.flatnonzero(by_look | by_clip):
                how: How = "look" if by_look[place] else "clip"
                scores = look if by_look[place] else alike
                assert scores is not None
                copies.append(Copy(int(rows[start + place]), how, min(float(scores[offset, place]), 1.0)))
            free[start:] &= ~(by_look | by_clip)
            stars.append((int(rows[row]), copies))
        yield Progress("compare", min(part.stop, len(rows)), len(rows), time.monotonic() - began, "picture")
    return stars


def _products(part: slice, start: int, *traits: np.ndarray | None) -> np.ndarray | None:
    """The smallest of several cosines between the pictures of a block and all from its start on."""
    products = [each[part] @ each[start:].T for each in traits if each is not None]
    return np.minimum.reduce(products) if products else None
