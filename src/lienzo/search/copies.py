"""What stores in a database share: a note of the generation that they are a copy of, and searching among many ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lienzo.core.files import replacing
from lienzo.search.best import ordered

LISTED = 5000  # ids that a database is told one by one; more are picked out of longer answers

Ask = Callable[[int], tuple[np.ndarray, np.ndarray]]


class GenerationNote:
    """The generation of the source that a database is a copy of, in a small file; -1 where there is no note.

    Args:
        path: the file; None keeps the note in memory.
        address: of the database. The note of another one does not count.
    """

    def __init__(self, path: Path | None, address: str):
        self.path = path
        self.address = address
        self.generation = -1
        if path is not None and path.is_file():
            try:
                noted = json.loads(path.read_text(encoding="utf-8"))
                self.generation = int(noted["generation"]) if noted["address"] == address else -1
            except (OSError, ValueError, KeyError, TypeError):
                self.generation = -1

    def write(self, generation: int) -> None:
        """Note a generation.

        Raises:
            BadInput: the file cannot be written.
        """
        self.generation = generation
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary:
                text = json.dumps({"address": self.address, "generation": generation})
                temporary.write_text(text, encoding="utf-8")


def among(ask: Ask, k: int, allowed: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best that are allowed, from ever longer answers of a database that cannot be told so many ids.

    Args:
        ask: gives ids and scores of the n best.
        k: how many.
        allowed: int64 ids that may be found.
        count: vectors that the database has.
    """
    limit = max(4 * k, 1000)
    while True:
        ids, scores = ask(min(limit, count))
        keep = np.isin(ids, allowed)
        if keep.sum() >= min(k, len(allowed)) or limit >= count:
            return ordered(ids[keep], scores[keep], k)
        limit *= 4
