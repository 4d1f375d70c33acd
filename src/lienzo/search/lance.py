"""Vectors in LanceDB: an embedded database with versions, on a disk or in an object store. `[cluster]`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.search.best import ordered
from lienzo.search.copies import LISTED, GenerationNote, among
from lienzo.search.exact import write_rows
from lienzo.search.rows import checked, checked_queries
from lienzo.search.seams import VectorSource

_BATCH = 10_000


class LanceStore:
    """A table of LanceDB. Without an index of its own it is searched exactly.

    Args:
        dim: length D of the vectors.
        address: a folder, or an object store as LanceDB names it (``s3://bucket/path``).
        table: name of the table; made if it is not there.
        note: file that remembers the generation of a source, for following one.

    Raises:
        BadInput: lancedb is not installed, the address cannot be opened, or the table has vectors of another length.
    """

    kind = "lancedb"

    def __init__(self, dim: int, address: str | Path, table: str = "vectors", note: Path | None = None):
        try:
            import lancedb
            import pyarrow
        except ImportError as error:
            raise BadInput(
                "The store 'lancedb' needs LanceDB; install it with: pip install 'lienzo[cluster]'"
            ) from error
        self.dim = dim
        self.arrow = pyarrow
        self._schema = pyarrow.schema(
            [("id", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), dim))],
        )
        self._note = GenerationNote(note, json.dumps([str(address), table]))
        try:
            self._database = lancedb.connect(str(address))
            self._name = table
            self.table: Any = self._database.create_table(table, schema=self._schema, exist_ok=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(f"The LanceDB store cannot be opened: {str(error).splitlines()[0][:200]}") from error
        if self.table.schema.field("vector").type.list_size != dim:
            raise BadInput(f"The LanceDB table '{table}' holds vectors of another length than {dim}.")

    def __len__(self) -> int:
        return int(self.table.count_rows())

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors (N, D) under ids (N,); an id that is there is replaced."""
        ids, vectors = checked(ids, vectors, self.dim)
        last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]  # of an id given twice, the last
        for start in range(0, len(last), _BATCH):
            part = last[start : start + _BATCH]
            flat = self.arrow.array(vectors[part].reshape(-1))
            columns = [self.arrow.array(ids[part]), self.arrow.FixedSizeListArray.from_arrays(flat, self.dim)]
            rows = self.arrow.Table.from_arrays(columns, schema=self._schema)
            merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(rows)

    def delete(self, ids: np.ndarray) -> None:
        """Forget ids (N,); unknown ones are passed over."""
        ids = np.unique(np.asarray(ids, np.int64))
        for start in range(0, len(ids), LISTED):
            self.table.delete(_condition(ids[start : start + LISTED]))

    def clear(self) -> None:
        """Forget everything."""
        self.table = self._database.create_table(self._name, schema=self._schema, mode="overwrite")

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best of each query: ids (Q, k), -1 where there are fewer, and scores (Q, k)."""
        queries = checked_queries(queries, self.dim)
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        count = len(self)
        if count == 0 or k < 1 or (allowed is not None and len(allowed) == 0):
            return ids, scores
        for i, query in enumerate(queries):
            if allowed is None:
                found = self._ask(query, None, min(k, count))
            elif len(allowed) <= LISTED:
                found = self._ask(query, _condition(allowed), min(k, count))
            else:
                found = among(partial(self._ask, query, None), k, allowed, count)
            ids[i, : len(found[0])], scores[i, : len(found[0])] = found
        return ids, scores

    def snapshot(self, folder: Path) -> None:
        """Write the vectors to `folder`; `ExactStore` opens it, `read_rows` reads it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder, self._parts(), self.dim, self.generation)

    def stats(self) -> dict[str, object]:
        """Kind, count, and version of the table."""
        return {"kind": self.kind, "count": len(self), "version": int(self.table.version)}

    # What a follower of a source needs.

    stale = False

    @property
    def generation(self) -> int:
        """Of the source that this is a copy of."""
        return self._note.generation

    def followed(self, generation: int) -> None:
        """Note that the store is as the source was at `generation`."""
        self._note.write(generation)

    def rebuild(self, source: VectorSource) -> None:
        """Become a copy of the source."""
        generation = source.generation()
        self._note.write(-1)
        self.clear()
        for ids, vectors in source.parts():
            self.add(ids, vectors)
        self._note.write(generation)

    def improve(self, source: VectorSource) -> None:
        """Join the small files that many additions have left."""
        self.table.optimize()

    def _ask(self, query: np.ndarray, condition: str | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        search = self.table.search(query, vector_column_name="vector").distance_type("dot").limit(limit)
        if condition is not None:
            search = search.where(condition, prefilter=True)
        rows = search.select(["id", "_distance"]).to_arrow()
        scores = 1.0 - rows["_distance"].to_numpy()  # LanceDB's dot distance is 1 - product
        return ordered(rows["id"].to_numpy(), scores, limit)

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        every = np.sort(self.table.search().select(["id"]).to_arrow()["id"].to_numpy())
        for start in range(0, len(every), LISTED):
            rows = self.table.search().where(_condition(every[start : start + LISTED])).limit(LISTED).to_arrow()
            ids = rows["id"].to_numpy()
            vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.dim)
            order = np.argsort(ids)
            yield ids[order], vectors[order]


def _condition(ids: np.ndarray) -> str:
    return f"id IN ({', '.join(map(str, np.asarray(ids).tolist()))})"
