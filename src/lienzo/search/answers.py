"""What a search finds: pictures of an index with their scores, ready to be shown, printed as JSON or put on a sheet."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.search.catalogue import Catalogue, CatalogueSource
from lienzo.search.follow import Follower
from lienzo.search.query import Term, query_vector
from lienzo.search.seams import Embedder, VectorStore
from lienzo.search.stores import open_follower


@dataclass(frozen=True, slots=True)
class Match:
    """A picture that was found: an event of its own, so that JSON has a line for each."""

    rank: int
    """From 1."""
    score: float
    """Cosine between the query and the picture, -1 to 1."""
    path: str
    """Absolute. Bytes that are no text are lone surrogates, as Python's `os.fsencode` takes them back."""
    caption: str
    width: int
    height: int
    missing: bool
    """Whether the file is gone since it was indexed."""


def source_of(catalogue: Catalogue, embedder: Embedder, clip: str) -> CatalogueSource:
    """The vectors that a CLIP's queries are compared with.

    Args:
        catalogue: the index.
        embedder: the CLIP.
        clip: its name, for the message.

    Raises:
        BadInput: the index has none of this CLIP.
    """
    tag = catalogue.tag_of(embedder)
    count = catalogue.tags().get(tag, 0)
    if count == 0:
        shown, name = printable(str(catalogue.folder), 200), printable(clip, 100)
        if not catalogue.count():
            raise BadInput(f"The index in '{shown}' has no pictures yet; give it some with: lienzo index FOLDER")
        raise BadInput(
            f"The index in '{shown}' has no vectors of '{name}'; make them with: "
            f"lienzo index --index '{shown}' --clip {name}"
        )
    return catalogue.source(tag, embedder.dim)


def store_of(catalogue: Catalogue, source: CatalogueSource, name: str = "auto", address: str | None = None) -> Follower:
    """The store that finds the nearest vectors; what it caches lies in the index, a folder for each model.

    Args:
        catalogue: the index.
        source: vectors of one model.
        name: a row of `STORES`, or ``auto``.
        address: of a server or a shared place, for the stores that have one.

    Raises:
        BadInput: there is no such store, it takes no address, or it does not answer.
    """
    options = None if address is None else {"address": address}
    return open_follower(name, source, catalogue.cache(source.tag), options)


def vector_of(catalogue: Catalogue, embedder: Embedder, terms: Sequence[Term]) -> np.ndarray:
    """The vector of a query (D,). A picture that the index has as it is now uses its stored vector.

    Raises:
        BadInput: the query cancels out, or a picture cannot be read.
    """
    return query_vector(terms, embedder.texts, picture_reader(catalogue, embedder))


def picture_reader(catalogue: Catalogue, embedder: Embedder) -> Callable[[Path], np.ndarray]:
    """A function from a picture file to its unit vector (D,)."""

    def read(path: Path) -> np.ndarray:
        item = catalogue.find(path)
        if item is not None:
            status = os.stat(path)
            if (status.st_size, status.st_mtime_ns) == (item.size, item.mtime_ns):
                stored = catalogue.vector(item.id, catalogue.tag_of(embedder))
                if stored is not None:
                    return stored
        from lienzo.imaging.reading import open_picture
        from lienzo.search.decoding import enough

        prepared = embedder.prepare(open_picture(path, at_least=enough(embedder.size)))  # (size, size, 3)
        return embedder.pictures(prepared[None])[0]

    return read


def find_matches(
    catalogue: Catalogue,
    store: VectorStore,
    vector: np.ndarray,
    count: int,
    *,
    allowed: np.ndarray | None = None,
    min_score: float | None = None,
) -> list[Match]:
    """The pictures nearest to a query, best first.

    Args:
        catalogue: the index.
        store: its vectors.
        vector: float32 (D,), length 1.
        count: how many at most.
        allowed: ids that may be found, int64 and rising; None means all.
        min_score: the least cosine.
    """
    if allowed is not None and not len(allowed):
        return []
    ids, scores = store.search(vector[None], count, allowed)
    wanted = [
        (int(number), float(score))
        for number, score in zip(ids[0], scores[0])
        if number >= 0 and (min_score is None or score >= min_score)
    ]
    items = {item.id: item for item in catalogue.items(number for number, _ in wanted)}
    found = [(items[number], score) for number, score in wanted if number in items]
    return [
        Match(rank, score, str(item.path), item.caption, item.width, item.height, missing=not os.path.isfile(item.path))
        for rank, (item, score) in enumerate(found, 1)
    ]


def shown_path(path: str | Path) -> str:
    r"""A path as one line of text: bytes that are no UTF-8 as ``\xff``, no control characters."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))
