"""Vectors in Qdrant, the step beyond one machine: a server that several share. `[cluster]`

One machine follows the index and writes; any number open the collection by its address and search.

Tested against the client's own local mode, and for what goes over the wire against a stand-in server that records and
answers requests; not against a real server, which has the same client interface.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.search.best import ordered
from lienzo.search.copies import LISTED, DatabaseStore, GenerationNote
from lienzo.search.rows import checked
from lienzo.search.seams import VectorSource

_BATCH = 500
Answer = TypeVar("Answer")


class QdrantStore(DatabaseStore):
    """A collection of a Qdrant server.

    Args:
        dim: length D of the vectors.
        address: ``http://host:6333``; ``:memory:`` or a folder uses the client alone, for a few thousand vectors.
        collection: its name; made if it is not there.
        exact: whether the server looks at every vector instead of its graph.
        api_key: of a server that wants one.
        note: file that remembers the generation of a source, for following one.

    Raises:
        BadInput: qdrant-client is not installed, the server does not answer, or its collection has vectors of another
            length or distance.
    """

    kind = "qdrant"

    def __init__(
        self,
        dim: int,
        address: str = "http://localhost:6333",
        collection: str = "lienzo",
        exact: bool = False,
        api_key: str | None = None,
        note: Path | None = None,
    ):
        try:
            from qdrant_client import QdrantClient, models
        except ImportError as error:
            raise BadInput(
                "The store 'qdrant' needs its client; install it with: pip install 'lienzo[cluster]'"
            ) from error
        super().__init__(dim, GenerationNote(note, json.dumps([address, collection])))
        self.models: Any = models
        self.collection = collection
        self.address = address
        self.exact = exact
        if address == ":memory:":
            self.client = QdrantClient(":memory:")
        elif "://" in address:
            self.client = QdrantClient(url=address, api_key=api_key, check_compatibility=False, timeout=60)
        else:
            self.client = QdrantClient(path=address)
        if not self._call(lambda: self.client.collection_exists(collection)):
            self._create()
        else:
            self._check()

    def __len__(self) -> int:
        return int(self._call(lambda: self.client.count(self.collection, exact=True)).count)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors (N, D) under ids (N,); an id that is there is replaced. Returns when it is searchable."""
        ids, vectors = checked(ids, vectors, self.dim)
        last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]  # of an id given twice, the last
        for start in range(0, len(last), _BATCH):
            part = last[start : start + _BATCH]
            points = self.models.Batch(ids=ids[part].tolist(), vectors=vectors[part].tolist())
            self._call(partial(self.client.upsert, self.collection, points, wait=True))

    def delete(self, ids: np.ndarray) -> None:
        """Forget ids (N,); unknown ones are passed over."""
        listed = np.unique(np.asarray(ids, np.int64)).tolist()
        for start in range(0, len(listed), LISTED):
            points = self.models.PointIdsList(points=listed[start : start + LISTED])
            self._call(partial(self.client.delete, self.collection, points, wait=True))

    def clear(self) -> None:
        """Forget everything."""
        self._call(lambda: self.client.delete_collection(self.collection))
        self._create()

    def stats(self) -> dict[str, object]:
        """Kind, count, and address without what may be secret in it."""
        address = printable(self.address.split("@")[-1], 200)
        return {"kind": self.kind, "count": len(self), "address": address, "collection": self.collection}

    def improve(self, source: VectorSource) -> None:
        """Nothing: the server builds its graph by itself."""

    def ask(self, query: np.ndarray, allowed: np.ndarray | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """The best for one query (D,), best first."""
        chosen = None
        if allowed is not None:
            condition = self.models.HasIdCondition(has_id=np.asarray(allowed).tolist())
            chosen = self.models.Filter(must=[condition])
        points = self._call(
            lambda: self.client.query_points(
                self.collection,
                query=query.tolist(),
                limit=limit,
                query_filter=chosen,
                search_params=self.models.SearchParams(exact=self.exact),
                with_payload=False,
            )
        ).points
        ids = np.array([point.id for point in points], np.int64)
        return ordered(ids, np.array([point.score for point in points], np.float64), limit)

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids and vectors in parts, by rising id."""
        place = None
        while True:
            ask = partial(self.client.scroll, self.collection, limit=_BATCH, with_payload=False, with_vectors=True)
            points, place = self._call(partial(ask, offset=place))
            ids = np.array([point.id for point in points], np.int64)
            vectors = np.array([point.vector for point in points], np.float32).reshape(-1, self.dim)
            yield ids, vectors
            if place is None:
                return

    def _create(self) -> None:
        vectors = self.models.VectorParams(size=self.dim, distance=self.models.Distance.DOT)
        self._call(lambda: self.client.create_collection(self.collection, vectors_config=vectors))

    def _check(self) -> None:
        vectors = self._call(lambda: self.client.get_collection(self.collection)).config.params.vectors
        size, distance = getattr(vectors, "size", None), getattr(vectors, "distance", None)
        if size != self.dim or distance != self.models.Distance.DOT:
            raise BadInput(
                f"The Qdrant collection '{printable(self.collection, 100)}' is not one of dot products of "
                f"{self.dim} numbers; choose another name."
            )

    def _call(self, ask: Callable[[], Answer]) -> Answer:
        from qdrant_client.http.exceptions import ApiException

        try:
            return ask()
        except (ApiException, OSError, RuntimeError) as error:
            reason = printable(str(error), 200).rstrip(".")
            where = printable(self.address, 100)
            raise BadInput(f"The Qdrant server at {where} did not do what it was asked: {reason}.") from error
