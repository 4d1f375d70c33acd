"""Many pictures to CLIP vectors: decoded in threads, embedded in batches; broken ones are told and left out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from lienzo.clip.embedder import Embedder
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Progress
from lienzo.core.text import printable

BATCH = 64
TOLD = 5


class Vectors(NamedTuple):
    """Vectors of the pictures that could be read.

    Attributes:
        vectors: float32 (n, D), unit length.
        kept: which pictures they are of, in order.
    """

    vectors: np.ndarray
    kept: list[int]


def embed_pictures(
    embedder: Embedder, read: Callable[[int], Image.Image], names: Sequence[str], stage: str = "pictures"
) -> Generator[Event, None, Vectors]:
    """Vectors of many pictures, with Progress, and Notes about broken ones.

    Args:
        embedder: the CLIP.
        read: a picture by its number, RGB; may raise BadPicture; called from threads.
        names: what to call each picture in messages.
        stage: what to call the work.

    Raises:
        BadInput: no picture can be read.
    """
    began, problems = time.monotonic(), list[str]()
    parts: list[np.ndarray] = []
    kept: list[int] = []

    def prepared(row: int) -> np.ndarray | BadInput:
        try:
            return embedder.prepare(read(row))
        except BadInput as error:
            return error

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), BATCH):
            rows = range(start, min(start + BATCH, len(names)))
            whole = []
            for row, result in zip(rows, pool.map(prepared, rows), strict=True):
                if isinstance(result, BadInput):
                    problems.append(f"{printable(names[row], 200)}: {result}")
                else:
                    whole.append(result)
                    kept.append(row)
            if whole:
                parts.append(embedder.pictures(np.stack(whole)))
            yield Progress(stage, rows.stop, len(names), time.monotonic() - began, "picture")
    yield from told(problems, len(names))
    if not parts:
        reason = f" ({problems[0]})" if problems else ""
        raise BadInput(f"None of the {len(names)} pictures can be read{reason}")
    return Vectors(np.concatenate(parts), kept)


def told(problems: Sequence[str], total: int) -> Iterator[Note]:
    """Notes about the first pictures that cannot be read, and about how many of `total` there are."""
    yield from (Note(problem, "warning") for problem in problems[:TOLD])
    if len(problems) > TOLD:
        yield Note(f"{len(problems)} of {total} pictures cannot be read and were left out.", "warning")
