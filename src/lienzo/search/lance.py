"""Vectors in LanceDB: an embedded database with versions, on a disk or in an object store. `[cluster]`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.search.best import ordered
from lienzo.search.copies import LISTED, DatabaseStore, GenerationNote
from lienzo.search.rows import checked
from lienzo.search.seams import VectorSource

_BATCH = 10_000


class LanceStore(DatabaseStore):
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
        super().__init__(dim, GenerationNote(note, json.dumps([str(address), table])))
        self.arrow = pyarrow
        self._schema = pyarrow.schema(
            [("id", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), dim))],
        )
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

    def stats(self) -> dict[str, object]:
        """Kind, count, and version of the table."""
        return {"kind": self.kind, "count": len(self), "version": int(self.table.version)}

    def improve(self, source: VectorSource) -> None:
        """Join the small files that many additions have left."""
        self.table.optimize()

    def ask(self, query: np.ndarray, allowed: np.ndarray | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """The best for one query (D,), best first."""
        limit = min(limit, len(self))
        if not limit:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        search = self.table.search(query, vector_column_name="vector").distance_type("dot").limit(limit)
        if allowed is not None:
            search = search.where(_condition(allowed), prefilter=True)
        rows = search.select(["id", "_distance"]).to_arrow()
        scores = 1.0 - rows["_distance"].to_numpy()  # LanceDB's dot distance is 1 - product
        return ordered(rows["id"].to_numpy(), scores, limit)

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids and vectors in parts, by rising id."""
        every = np.sort(self.table.search().select(["id"]).to_arrow()["id"].to_numpy())
        for start in range(0, len(every), LISTED):
            rows = self.table.search().where(_condition(every[start : start + LISTED])).limit(LISTED).to_arrow()
            ids = rows["id"].to_numpy()
            vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.dim)
            order = np.argsort(ids)
            yield ids[order], vectors[order]


def _condition(ids: np.ndarray) -> str:
    return f"id IN ({', '.join(map(str, np.asarray(ids).tolist()))})"
