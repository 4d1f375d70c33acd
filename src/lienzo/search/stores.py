"""The stores of vectors by name. A new one is one row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names
from lienzo.search.approximate import MINIMUM
from lienzo.search.exact import read_rows
from lienzo.search.follow import Follower
from lienzo.search.seams import VectorSource, VectorStore

STORES = Names(
    "vector store",
    {
        "exact": "lienzo.search.exact:ExactStore",
        "ann": "lienzo.search.approximate:ApproximateStore",
        "lancedb": "lienzo.search.lance:LanceStore",
        "qdrant": "lienzo.search.qdrant:QdrantStore",
    },
)


def open_store(name: str, dim: int, options: Mapping[str, Any] | None = None) -> VectorStore:
    """An empty or kept store of its own.

    Args:
        name: a row of `STORES`.
        dim: length of the vectors.
        options: arguments of the store's class, such as `folder` or `address`.

    Raises:
        BadInput: there is no such store or option, or what it needs is not installed.
    """
    kind = STORES.load(name)
    known = [option for option in signature(kind).parameters if option != "dim"]
    for option in options or {}:
        if option not in known:
            raise BadInput(f"The store '{name}' has no option '{option}'; it has {', '.join(known)}.")
    store: VectorStore = kind(dim, **(options or {}))
    return store


def open_follower(
    name: str, source: VectorSource, folder: Path | None = None, options: Mapping[str, Any] | None = None
) -> Follower:
    """A store that stays a copy of a source.

    Args:
        name: a row of `STORES`, or ``auto``: approximate search for many vectors where faiss is installed, else exact.
        source: the truth; one folder is for one source.
        folder: for what the store keeps on this machine.
        options: further arguments of the store's class.

    Raises:
        BadInput: as `open_store`.
    """
    if name == "auto":
        name = suggested(source.count())
    parameters = signature(STORES.load(name)).parameters
    given: dict[str, Any] = {}
    if folder is not None and "folder" in parameters:
        given["folder"] = folder / name  # each its own, so that one does not make another's files old
    elif folder is not None and "address" in parameters and parameters["address"].default is Parameter.empty:
        given = {"address": folder / name, "note": folder / f"{name}.json"}
    elif folder is not None and "note" in parameters:
        given["note"] = folder / f"{name}.json"
    if folder is not None and "collection" in parameters:
        # A server is shared: under one name the copies of two models or two indexes would pass for each other.
        given["collection"] = f"lienzo-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}"
    store: Any = open_store(name, source.dim, {**given, **(options or {})})
    return Follower(source, store)


def suggested(count: int) -> str:
    """The store for so many vectors with what is installed."""
    return "ann" if count >= MINIMUM and find_spec("faiss") is not None else "exact"


def restore(store: VectorStore, folder: Path) -> None:
    """Add to a store what any store's `snapshot` has written to `folder`.

    Raises:
        BadInput: there is no whole snapshot, or its vectors have another length.
    """
    for ids, vectors in read_rows(folder):
        store.add(ids, vectors)
