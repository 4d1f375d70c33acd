"""The approximate store: recall on queries that lie like texts, changes since it was made, filters, broken files."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from vectors import DictSource, brute, pictures_and_texts

from lienzo.core.errors import BadInput
from lienzo.search.approximate import FILE, ApproximateStore, text_like
from lienzo.search.exact import ExactStore
from lienzo.search.follow import Follower
from lienzo.search.stores import open_store

COUNT, DIM = 8000, 64


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray]:
    pytest.importorskip("faiss", reason="faiss is not installed")
    return pictures_and_texts(COUNT, DIM, 100)


@pytest.fixture
def store(vectors: tuple[np.ndarray, np.ndarray]) -> ApproximateStore:
    made = ApproximateStore(DIM, minimum=1000)
    made.add(np.arange(COUNT) * 2, vectors[0])
    made.build()
    return made


def recall(store: ApproximateStore, ids: np.ndarray, pictures: np.ndarray, texts: np.ndarray) -> float:
    got = store.search(texts, 10)[0]
    return float(
        np.mean([len(set(line.tolist()) & set(brute(ids, pictures, t, 10))) / 10 for line, t in zip(got, texts)])
    )


def test_recall_on_texts_with_an_index_that_looks_into_few_lists(
    store: ApproximateStore, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    assert store.stats()["indexed"]
    assert store.facts["looked_into"] <= store.facts["lists"] // 4
    assert recall(store, np.arange(COUNT) * 2, *vectors) >= 0.98


def test_scores_are_exact_and_ordered(store: ApproximateStore, vectors: tuple[np.ndarray, np.ndarray]) -> None:
    ids, scores = store.search(vectors[1], 10)
    truth = np.einsum("qkd,qd->qk", vectors[0][ids // 2].astype(np.float64), vectors[1].astype(np.float64))
    assert np.allclose(scores, truth, atol=1e-6)
    assert (np.diff(scores) <= 0).all()


def test_tuned_on_queries_that_are_given(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, texts = vectors
    made = {}
    for name, queries in (("texts", texts), ("pictures", pictures[:100])):
        store = ApproximateStore(DIM, minimum=1000, queries=queries)
        store.add(np.arange(COUNT), pictures)
        store.build()
        made[name] = store.facts["looked_into"]
    assert made["texts"] >= made["pictures"]  # texts lie farther from their neighbours' lists
    like = text_like(pictures, 50)
    assert np.allclose(np.linalg.norm(like, axis=1), 1, atol=1e-5)
    gap = pictures.mean(0)
    assert (like @ gap).mean() < 0 < (pictures @ gap).mean()


def test_changes_since_it_was_made_are_searched_exactly(
    store: ApproximateStore, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    texts = vectors[1]
    first = store.search(texts[:1], 3)[0][0]
    store.delete(first[:1])
    assert store.search(texts[:1], 2)[0][0].tolist() == first[1:].tolist()
    store.add(np.array([1]), texts[:1])  # an odd id is a new one
    store.add(first[1:2], -texts[:1])  # replaced by its opposite
    got, scores = store.search(texts[:1], 2)
    assert got[0].tolist() == [1, first[2]]
    assert scores[0, 0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.9])
def test_filter(store: ApproximateStore, vectors: tuple[np.ndarray, np.ndarray], share: float) -> None:
    pictures, texts = vectors
    rows = np.flatnonzero(np.random.default_rng(3).random(COUNT) < share)
    hits = []
    for text in texts[:40]:
        got = store.search(text[None], 10, rows * 2)[0][0]
        truth = brute(rows * 2, pictures[rows], text, 10)
        assert set(got[got >= 0].tolist()) <= set((rows * 2).tolist())
        assert (got >= 0).sum() == len(truth)
        hits.append(len(set(got.tolist()) & set(truth)) / max(len(truth), 1))
    assert np.mean(hits) >= 0.97


def test_many_wanted_are_searched_exactly(store: ApproximateStore, vectors: tuple[np.ndarray, np.ndarray]) -> None:
    got = store.search(vectors[1][:2], COUNT + 5)[0]
    assert (got[:, COUNT:] == -1).all()
    assert got[0, :COUNT].tolist() == brute(np.arange(COUNT) * 2, vectors[0], vectors[1][0], COUNT)


def test_index_is_kept_opened_again_and_made_anew_when_broken_or_old(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    source = DictSource(DIM)
    source.put(np.arange(COUNT), vectors[0])
    query = vectors[1][:1]
    first = Follower(source, ApproximateStore(DIM, tmp_path, minimum=1000))
    assert first.search(query, 3)[0][0].tolist() == brute(np.arange(COUNT), vectors[0], query[0], 3)
    assert not first.stats()["indexed"]  # a search never waits for an index
    first.prepare()
    assert first.stats()["indexed"]
    assert ApproximateStore(DIM, tmp_path, minimum=1000).stats()["indexed"]
    data = bytearray((tmp_path / FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / FILE).write_bytes(data)
    broken = Follower(source, ApproximateStore(DIM, tmp_path, minimum=1000))
    assert broken.search(query, 3)[0].tolist() == first.search(query, 3)[0].tolist()
    assert not broken.stats()["indexed"]
    broken.prepare()
    stamp = broken.copy.exact.stamp  # type: ignore[attr-defined]
    source.put(np.arange(COUNT, COUNT + 100), vectors[0][:100])
    broken.prepare()
    assert broken.copy.exact.stamp == stamp  # type: ignore[attr-defined] # one in eighty changed
    source.put(np.arange(COUNT + 100, COUNT + 1800), vectors[0][:1700])
    broken.prepare()
    assert broken.copy.exact.stamp != stamp  # type: ignore[attr-defined] # more than a fifth changed
    assert broken.stats()["changed"] == 0
    ExactStore(DIM, tmp_path).rebuild(source)  # other rows beneath the index
    assert not ApproximateStore(DIM, tmp_path, minimum=1000).stats()["indexed"]


def test_without_faiss_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: object, **more: object) -> object:
        if name == "faiss":
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BadInput, match=r"pip install 'lienzo\[ann\]'"):
        open_store("ann", 8)
