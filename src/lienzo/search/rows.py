"""Vectors under ids: a large base that never changes, which of it still counts, and a small tail of what came later."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lienzo.core.errors import BadInput

PART = 8192


class Rows:
    """The vectors of a store.

    Args:
        dim: length D of the vectors.
        ids: int64 (N,), rising, of the base.
        vectors: float32 (N, D), of the base; often a mapped file. It is never written.
    """

    def __init__(self, dim: int, ids: np.ndarray | None = None, vectors: np.ndarray | None = None):
        self.dim = dim
        self.base_ids = np.empty(0, np.int64) if ids is None else ids
        self.base = np.empty((0, dim), np.float32) if vectors is None else vectors
        if self.base.shape != (len(self.base_ids), dim) or not (np.diff(self.base_ids) > 0).all():
            raise ValueError("the ids do not fit the vectors")
        self.alive = np.ones(len(self.base), bool)
        self.dead = 0
        self.tail_count = 0
        self._tail_ids = np.empty(0, np.int64)
        self._tail = np.empty((0, dim), np.float32)
        self._slots: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.base) - self.dead + self.tail_count

    @property
    def changed(self) -> int:
        """Rows added and rows forgotten since the base was made."""
        return self.dead + self.tail_count

    @property
    def tail(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids (M,) and vectors (M, D) that came after the base, in no order."""
        return self._tail_ids[: self.tail_count], self._tail[: self.tail_count]

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add or replace; where an id is given twice, its last vector counts."""
        ids, vectors = checked(ids, vectors, self.dim)
        self._bury(ids)
        self._reserve(self.tail_count + len(ids))
        slots = np.empty(len(ids), np.int64)
        for i, identity in enumerate(ids.tolist()):
            slot = self._slots.setdefault(identity, self.tail_count)
            self.tail_count += slot == self.tail_count
            slots[i] = slot
        last = {slot: i for i, slot in enumerate(slots.tolist())}
        where, which = np.fromiter(last.keys(), np.int64, len(last)), np.fromiter(last.values(), np.int64, len(last))
        self._tail_ids[where] = ids[which]
        self._tail[where] = vectors[which]

    def delete(self, ids: np.ndarray) -> None:
        """Forget ids; unknown ones are passed over."""
        ids = np.asarray(ids, np.int64).reshape(-1)
        self._bury(ids)
        for identity in ids.tolist():
            slot = self._slots.pop(identity, None)
            if slot is None:
                continue
            self.tail_count -= 1
            if slot != self.tail_count:  # the last one moves into the gap
                moved = int(self._tail_ids[self.tail_count])
                self._tail_ids[slot] = moved
                self._tail[slot] = self._tail[self.tail_count]
                self._slots[moved] = slot

    def base_rows(self, ids: np.ndarray) -> np.ndarray:
        """Rows of the base that still count and have one of these ids; `ids` sorted."""
        if not len(self.base_ids):
            return np.empty(0, np.int64)
        rows = np.minimum(np.searchsorted(self.base_ids, ids), len(self.base_ids) - 1)
        rows = rows[self.base_ids[rows] == ids]
        return np.unique(rows[self.alive[rows]])

    def tail_rows(self, ids: np.ndarray) -> np.ndarray:
        """Rows of the tail that have one of these ids."""
        return np.flatnonzero(np.isin(self._tail_ids[: self.tail_count], ids))

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids and vectors in parts, by rising id."""
        tail_ids, tail = self.tail
        rows = np.flatnonzero(self.alive)
        ids = np.concatenate((self.base_ids[rows], tail_ids))
        places = np.concatenate((rows, len(self.base) + np.arange(len(tail_ids))))
        order = np.argsort(ids, kind="stable")
        for start in range(0, len(order), PART):
            chosen = order[start : start + PART]
            place = places[chosen]
            late = place >= len(self.base)
            vectors = np.empty((len(chosen), self.dim), np.float32)
            vectors[~late] = self.base[place[~late]]
            vectors[late] = tail[place[late] - len(self.base)]
            yield ids[chosen], vectors

    def _bury(self, ids: np.ndarray) -> None:
        rows = self.base_rows(np.sort(ids))
        self.alive[rows] = False
        self.dead += len(rows)

    def _reserve(self, count: int) -> None:
        if count <= len(self._tail):
            return
        room = max(count, 2 * len(self._tail), 64)
        ids, tail = np.empty(room, np.int64), np.empty((room, self.dim), np.float32)
        ids[: self.tail_count], tail[: self.tail_count] = self.tail
        self._tail_ids, self._tail = ids, tail


def checked(ids: np.ndarray, vectors: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids as int64 (N,) and vectors as float32 (N, D).

    Raises:
        BadInput: their shapes do not fit, an id is negative, or a number is not finite.
    """
    ids = np.asarray(ids, np.int64).reshape(-1)
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.shape != (len(ids), dim):
        raise BadInput(f"Vectors of shape {vectors.shape} were given; it should be ({len(ids)}, {dim}).")
    if len(ids) and ids.min() < 0:
        raise BadInput("An id of a vector is negative; ids count from 0.")
    if not np.isfinite(vectors).all():
        raise BadInput("A vector has an entry that is not a number.")
    return ids, vectors


def checked_queries(queries: np.ndarray, dim: int) -> np.ndarray:
    """Queries as float32 (Q, D).

    Raises:
        BadInput: the shape does not fit, or a number is not finite.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise BadInput(f"Queries of shape {queries.shape} were given; it should be (any, {dim}).")
    if not np.isfinite(queries).all():
        raise BadInput("A query has an entry that is not a number.")
    return queries
