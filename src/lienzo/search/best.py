"""The k largest products of queries with many rows, exactly: screened in float32, decided in float64, ties by id."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK_ROWS = 32_768
BLOCK_QUERIES = 64
GATHER_BELOW = 0.25  # of the rows: picking them out is then cheaper than multiplying all


class Segment(NamedTuple):
    """Rows to look through."""

    ids: np.ndarray  # int64 (N,)
    vectors: np.ndarray  # float32 (N, D)
    rows: np.ndarray | None = None  # int64 (M,), rising: only these; None: all


def best(queries: np.ndarray, k: int, segments: list[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """The k rows with the largest product with each query.

    The result is that of float64 arithmetic: every row whose float32 product could belong to the best is multiplied
    again. Equal products are ordered by id.

    Args:
        queries: float32 (Q, D).
        k: how many.
        segments: where to look. Rows are unit vectors.

    Returns:
        int64 ids (Q, k), -1 where there are fewer, and float32 scores (Q, k), -inf there.
    """
    ids = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    if k < 1:
        return ids, scores
    for start in range(0, len(queries), BLOCK_QUERIES):
        part = queries[start : start + BLOCK_QUERIES]
        lists = [_Shortlist(query, k) for query in part]
        for number, segment in enumerate(segments):
            _scan(part, segment, number, lists)
        for i, shortlist in enumerate(lists, start):
            found, value = shortlist.decide(segments)
            ids[i, : len(found)], scores[i, : len(found)] = found, value
    return ids, scores


def _scan(queries: np.ndarray, segment: Segment, number: int, lists: list[_Shortlist]) -> None:
    rows = segment.rows
    gather = rows is not None and len(rows) < GATHER_BELOW * len(segment.ids)
    out = None
    if rows is not None and not gather:
        out = np.ones(len(segment.ids), bool)
        out[rows] = False
    total = len(rows) if rows is not None and gather else len(segment.ids)
    for start in range(0, total, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, total)
        picked = rows[start:stop] if rows is not None and gather else None
        block = segment.vectors[start:stop] if picked is None else segment.vectors[picked]  # (n, D)
        # For one query einsum reads the block at the speed of memory; most BLAS take twice as long for such products.
        products = np.einsum("nd,d->n", block, queries[0])[None] if len(queries) == 1 else queries @ block.T  # (Q, n)
        if out is not None:
            products[:, out[start:stop]] = -np.inf
        for shortlist, line in zip(lists, products):
            hits = np.flatnonzero(line >= shortlist.floor)
            if len(hits):
                shortlist.extend(number, hits + start if picked is None else picked[hits], line[hits])


class _Shortlist:
    """Rows that may be among the k best of one query."""

    def __init__(self, query: np.ndarray, k: int):
        self.query = query
        self.k = k
        self.floor = -float(np.finfo(np.float32).max)
        # Twice the largest error of a float32 sum of D products of unit vectors, with room for fp16-rounded norms.
        self.doubt = 1.01 * len(query) * 2.0**-23 * float(np.linalg.norm(query))
        self.segment = np.empty(0, np.int64)
        self.rows = np.empty(0, np.int64)
        self.scores = np.empty(0, np.float32)

    def extend(self, segment: int, rows: np.ndarray, scores: np.ndarray) -> None:
        self.segment = np.concatenate((self.segment, np.full(len(rows), segment)))
        self.rows = np.concatenate((self.rows, rows))
        self.scores = np.concatenate((self.scores, scores))
        if len(self.scores) > self.k:
            cut = len(self.scores) - self.k
            self.floor = float(np.partition(self.scores, cut)[cut]) - self.doubt
            keep = self.scores >= self.floor
            self.segment, self.rows, self.scores = self.segment[keep], self.rows[keep], self.scores[keep]

    def decide(self, segments: list[Segment]) -> tuple[np.ndarray, np.ndarray]:
        ids, scores = [np.empty(0, np.int64)], [np.empty(0, np.float64)]
        for number, segment in enumerate(segments):
            rows = self.rows[self.segment == number]
            ids.append(segment.ids[rows])
            scores += [
                products(segment.vectors[rows[i : i + BLOCK_ROWS]], self.query) for i in range(0, len(rows), BLOCK_ROWS)
            ]
        return ordered(np.concatenate(ids), np.concatenate(scores), self.k)


def products(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Products in float64, (N,); equal rows have equal products wherever they stand."""
    return (vectors.astype(np.float64) * query.astype(np.float64)).sum(1)


def ordered(ids: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best, best first, ties by id."""
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order].astype(np.float32)
