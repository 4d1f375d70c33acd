"""Approximate search for large collections: faiss' inverted lists find candidates, exact products order them.

The index (IVF with 8 bits a number) is a disposable copy of the base rows of an `ExactStore`: what was added since is
searched exactly and merged, what is gone is masked, and the scores that come back are exact. Texts and pictures of a
CLIP lie in two clusters apart, so a number of lists that is enough for pictures as queries misses neighbours of texts
(clip-retrieval's issue 76). Two things answer it. The mean of the vectors is taken off before they are put into lists:
that changes all products with a query alike, so the order stays, and the gap no longer decides which lists look near
(at 200,000 vectors 16 lists then find 0.975 of the neighbours of texts instead of 0.865). And the number of lists is
tuned on texts, or on queries made to lie like texts.
"""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.search.best import Segment, best, ordered, products
from lienzo.search.checked_file import read_arrays, write_arrays
from lienzo.search.exact import DRIFT, ExactStore
from lienzo.search.rows import checked_queries
from lienzo.search.seams import VectorSource

FILE = "lists.faiss"
MINIMUM = 300_000  # below, exact search is quick enough
TARGET = 0.99  # recall@10 that the number of lists is tuned to; 0.98 is promised
SAMPLES = 200  # queries to tune with
RARE = 0.1  # share of the rows; where fewer are allowed they are searched exactly
_ROUNDS = 10
_POINTS_A_LIST = 64
_PART = 65_536


class ApproximateStore:
    """Finds nearly always the nearest, a hundred times faster than exact search at a million vectors.

    Args:
        dim: length D of the vectors.
        folder: where the vectors and the index are kept; without it, in memory.
        minimum: vectors from which an index is built; fewer are searched exactly.
        queries: float32 (Q, D), vectors of texts like those that will be asked; None makes them up.

    Raises:
        BadInput: faiss is not installed.
    """

    kind = "ann"

    def __init__(self, dim: int, folder: Path | None = None, minimum: int = MINIMUM, queries: np.ndarray | None = None):
        self.faiss = _faiss()
        self.dim = dim
        self.folder = folder
        self.minimum = minimum
        self.queries = queries
        self.exact = ExactStore(dim, folder)
        self.index: Any = None
        self.facts: dict[str, Any] = {}
        self._load()

    def __len__(self) -> int:
        return len(self.exact)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors (N, D) under ids (N,); an id that is there is replaced."""
        self.exact.add(ids, vectors)

    def delete(self, ids: np.ndarray) -> None:
        """Forget ids (N,); unknown ones are passed over."""
        self.exact.delete(ids)

    def clear(self) -> None:
        """Forget everything."""
        self.exact.clear()
        self.index, self.facts = None, {}

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best of each query: ids (Q, k), -1 where there are fewer, and exact scores (Q, k)."""
        queries = checked_queries(queries, self.dim)
        base, late = self.exact.segments(allowed)
        usable = len(base.ids) if base.rows is None else len(base.rows)
        wanted = 4 * k + 32  # eight bits a number shuffle close neighbours; exact scores put them right
        if self.index is None or k < 1 or usable < max(RARE * len(base.ids), 10 * wanted):
            return best(queries, k, [base, late])
        rows = self._candidates(queries, wanted, base.rows, usable)
        ids, scores = best(queries, k, [late])
        for i, found in enumerate(rows):
            picked = found[found >= 0]
            if len(picked) < k:  # the lists that were looked into hold too few that are allowed
                ids[i], scores[i] = (a[0] for a in best(queries[i : i + 1], k, [base, late]))
                continue
            picked = np.sort(picked)  # in the order of the file
            known = ids[i] >= 0
            every = np.concatenate((ids[i][known], base.ids[picked]))
            value = np.concatenate((scores[i][known], products(base.vectors[picked], queries[i])))
            ids[i], scores[i] = ordered(every, value, k)
        return ids, scores

    def snapshot(self, folder: Path) -> None:
        """Write the vectors to `folder`; the index is made again when it is needed."""
        self.exact.snapshot(folder)

    def stats(self) -> dict[str, object]:
        """Kind, count, bytes, and of the index: lists, lists looked into, and the recall@10 they were tuned to."""
        return {**self.exact.stats(), "kind": self.kind, "indexed": self.index is not None, **self.facts}

    def build(self) -> None:
        """Make the index of all vectors there are, and keep it in the folder if that can be written."""
        if self.exact.rows.changed:
            self.exact.fold()
        self.index, self.facts = None, {}
        base = self.exact.rows.base
        if len(base) < max(self.minimum, 2):
            return
        self.index = self._trained(base)
        self.facts = {"lists": int(self.index.nlist), **self._tuned(base)}
        if self.folder is not None and self.folder.is_dir():
            blob = self.faiss.serialize_index(self.index)
            facts = {**self.facts, "stamp": self.exact.stamp, "dim": self.dim}
            with suppress(BadInput, OSError):
                write_arrays(self.folder / FILE, [("index", blob)], facts)

    # What a follower of a source needs.

    @property
    def generation(self) -> int:
        """Of the source that this is a copy of."""
        return self.exact.generation

    @property
    def stale(self) -> bool:
        """Whether making the vectors anew pays. With an index, what changed is searched exactly until `improve`."""
        return self.index is None and self.exact.stale

    def followed(self, generation: int) -> None:
        """Note that the store is as the source was at `generation`."""
        self.exact.followed(generation)

    def rebuild(self, source: VectorSource) -> None:
        """Become a copy of the source that is searched exactly until `improve`."""
        self.index, self.facts = None, {}
        self.exact.rebuild(source)

    def improve(self, source: VectorSource) -> None:
        """Make the index where there should be one and is none, or where a fifth has changed; minutes for a million."""
        rows = self.exact.rows
        if self.index is not None and rows.changed <= DRIFT * len(rows.base):
            return
        if rows.changed:
            self.rebuild(source)
        self.build()

    def _load(self) -> None:
        if self.folder is None:
            return
        kept = read_arrays(self.folder / FILE)
        if kept is None or kept.facts.get("stamp") != self.exact.stamp or "index" not in kept.arrays:
            return
        with suppress(RuntimeError, KeyError):
            index = self.faiss.deserialize_index(np.array(kept.arrays["index"]))
            if index.ntotal == len(self.exact.rows.base) and index.d == self.dim:
                self.facts = {name: kept.facts[name] for name in ("lists", "looked_into", "recall")}
                self.index = index

    def _trained(self, base: np.ndarray) -> Any:
        lists = max(int(2 * math.sqrt(len(base))), 1)
        lists = min(lists, max(len(base) // 40, 1))
        metric = self.faiss.METRIC_INNER_PRODUCT
        quantizer = self.faiss.IndexFlatIP(self.dim)
        index = self.faiss.IndexIVFScalarQuantizer(
            quantizer, self.dim, lists, self.faiss.ScalarQuantizer.QT_8bit, metric
        )
        index.cp.niter, index.cp.seed, index.cp.spherical = _ROUNDS, 1, True
        index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = _POINTS_A_LIST, 1
        count = min(len(base), lists * _POINTS_A_LIST)
        sample = base[np.sort(np.random.default_rng(0).choice(len(base), count, replace=False))]
        mean = sample.mean(0)
        index.train(sample - mean)
        for start in range(0, len(base), _PART):
            index.add(base[start : start + _PART] - mean)
        return index

    def _tuned(self, base: np.ndarray) -> dict[str, Any]:
        """Double the lists that are looked into until the neighbours of the sample queries are found."""
        queries = (
            text_like(base, SAMPLES) if self.queries is None else checked_queries(self.queries[:SAMPLES], self.dim)
        )
        k = min(10, len(base))
        truth, _ = best(queries, k, [Segment(np.arange(len(base)), base)])
        looked, recall = min(8, self.index.nlist), 0.0
        while True:
            self.facts = {"looked_into": looked}
            found = self._candidates(queries, 4 * k + 32, None, len(base))
            recall = float(np.mean([np.isin(t, f).mean() for t, f in zip(truth, found)]))
            if recall >= TARGET or looked >= self.index.nlist:
                return {"looked_into": looked, "recall": round(recall, 4)}
            looked = min(2 * looked, self.index.nlist)

    def _candidates(self, queries: np.ndarray, count: int, rows: np.ndarray | None, usable: int) -> np.ndarray:
        """Rows (Q, count) of the base near each query, -1 where there are fewer; only `rows` where they are given."""
        total = len(self.exact.rows.base)
        # The fewer of the rows count, the farther the best of them are.
        looked = min(math.ceil(self.facts["looked_into"] * total / max(usable, 1)), self.index.nlist)
        options: dict[str, Any] = {"nprobe": looked}
        if rows is not None:
            mask = np.zeros(total, bool)
            mask[rows] = True
            options["sel"] = self.faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        parameters = self.faiss.SearchParametersIVF(**options)
        found: np.ndarray = self.index.search(queries, min(count, total), params=parameters)[1]
        return found


def text_like(vectors: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Queries that lie towards picture vectors as texts of a CLIP do: on the other side of the mean, and blurred.

    Args:
        vectors: float32 (N, D), of pictures.
        count: how many.
        seed: of the choice.

    Returns:
        float32 unit vectors (Q, D), Q = min(count, N).
    """
    draws = np.random.default_rng(seed)
    sample = vectors[np.sort(draws.choice(len(vectors), min(len(vectors), 20_000), replace=False))]
    mean = sample.mean(0)
    own = sample[draws.choice(len(sample), min(count, len(sample)), replace=False)] - mean  # (Q, D)
    noise = draws.standard_normal(own.shape).astype(np.float32)
    noise *= np.linalg.norm(own, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True).clip(1e-12)
    texts = own + 0.7 * noise - mean
    return np.ascontiguousarray(texts / np.linalg.norm(texts, axis=1, keepdims=True).clip(1e-12), np.float32)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise BadInput("Approximate search needs faiss; install it with: pip install 'lienzo[ann]'") from error
    return faiss
