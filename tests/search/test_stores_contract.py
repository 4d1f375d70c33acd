"""What every store of vectors promises, checked on each; those whose package is missing are skipped."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from vectors import DictSource, unit

from lienzo.core.errors import BadInput
from lienzo.search.catalogue import Catalogue, Entry
from lienzo.search.exact import ExactStore
from lienzo.search.seams import VectorStore
from lienzo.search.stores import STORES, open_follower, open_store, restore, suggested

PACKAGES = {"ann": "faiss", "lancedb": "lancedb", "qdrant": "qdrant_client", "qdrant server": "qdrant_client"}
Make = Callable[[int], VectorStore]


class Server(ThreadingHTTPServer):
    """Answers as a Qdrant server does, as far as the store asks, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.collections: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.broken = False


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        path, _, options = self.path.partition("?")
        self.server.asked.append((self.command, self.path, body))
        if self.server.broken:
            return self.send(503, {"status": {"error": "service is\n\x1b[31m down"}, "time": 0})
        _, _, name, *rest = path.split("/")
        result, status = self.result(name, "/".join(rest), body), 200
        if result is None:
            result, status = {}, 404
        if self.command in ("PUT", "POST", "DELETE") and rest and rest[0] == "points":
            changing = rest == ["points"] or rest == ["points", "delete"]
            assert not changing or "wait=true" in options, "changes must be waited for"
        return self.send(status, {"result": result, "status": "ok", "time": 0.0})

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def result(self, name: str, what: str, body: Any) -> Any:
        kept = self.server.collections
        done = {"operation_id": 1, "status": "completed"}
        if what == "exists":
            return {"exists": name in kept}
        if what == "" and self.command == "PUT":
            kept[name] = {"vectors": body["vectors"], "points": {}}
            return True
        if what == "" and self.command == "DELETE":
            return kept.pop(name, None) is not None
        if name not in kept:
            return None
        points = kept[name]["points"]
        if what == "":
            return description(kept[name])
        if what == "points" and self.command == "PUT":
            points.update(zip(body["batch"]["ids"], body["batch"]["vectors"]))
            return done
        if what == "points/delete":
            for identity in body["points"]:
                points.pop(identity, None)
            return done
        if what == "points/count":
            return {"count": len(points)}
        if what == "points/scroll":
            ids = sorted(i for i in points if i >= (body.get("offset") or 0))
            page, more = ids[: body["limit"]], ids[body["limit"] :]
            found = [{"id": i, "vector": points[i], "payload": {}} for i in page]
            return {"points": found, "next_page_offset": more[0] if more else None}
        if what == "points/query":
            chosen = set(points)
            if body.get("filter"):
                chosen &= set(body["filter"]["must"][0]["has_id"])
            nearest = body["query"]["nearest"]
            scored = sorted(((float(np.dot(points[i], nearest)), i) for i in chosen), reverse=True)
            return {"points": [{"id": i, "score": s, "version": 0} for s, i in scored[: body["limit"]]]}
        return None

    def send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def description(kept: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "points_count": len(kept["points"]),
        "indexed_vectors_count": 0,
        "payload_schema": {},
        "config": {
            "params": {"vectors": kept["vectors"], "shard_number": 1},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
        },
    }


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield started
    started.shutdown()
    thread.join()
    started.server_close()


@pytest.fixture(params=["exact", "ann", "lancedb", "qdrant", "qdrant server"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    name = request.param
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"{PACKAGES[name]} is not installed")
    address = None
    if name == "qdrant server":
        started: Server = request.getfixturevalue("server")
        address = f"http://127.0.0.1:{started.server_address[1]}"
    made = 0

    def make(dim: int) -> VectorStore:
        nonlocal made
        made += 1
        options: dict[str, Any] = {}
        if name == "ann":
            options = {"minimum": 50}
        elif name == "lancedb":
            options = {"address": tmp_path / f"lance{made}"}
        elif name == "qdrant":
            options = {"address": ":memory:"}
        elif name == "qdrant server":
            options = {"address": address, "collection": f"c{made}"}
        return open_store(name.split()[0], dim, options)

    return make


def some(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def same(
    store: VectorStore, model: dict[int, np.ndarray], query: np.ndarray, k: int, allowed: np.ndarray | None
) -> None:
    """Compare with a dict: the scores, and that each id has its score (ties may come in another order)."""
    ids, scores = store.search(query[None], k, allowed)
    assert ids.shape == scores.shape == (1, k)
    assert ids.dtype == np.int64
    assert scores.dtype == np.float32
    usable = model if allowed is None else {i: model[i] for i in allowed.tolist() if i in model}
    truth = np.sort([float(v @ query) for v in usable.values()])[::-1][:k]
    there = ids[0] >= 0
    assert there.sum() == len(truth)
    assert there[: len(truth)].all()
    assert len(set(ids[0][there].tolist())) == len(truth)
    assert np.allclose(scores[0][there], truth, atol=2e-5)
    assert np.allclose(scores[0][there], [usable[i] @ query for i in ids[0][there].tolist()], atol=2e-5)
    assert np.isneginf(scores[0][~there]).all()


@pytest.mark.parametrize("dim", [8, 64, 512])
def test_add_search_replace_delete(make: Make, dim: int) -> None:
    store = make(dim)
    assert store.dim == dim
    vectors = some(30, dim)
    model = {i * 5: v for i, v in enumerate(vectors)}
    store.add(np.array(list(model)), vectors)
    query = some(1, dim, seed=1)[0]
    same(store, model, query, 7, None)
    assert store.search(vectors[3:5], 1)[0].tolist() == [[15], [20]]  # several queries at once
    store.add(np.array([15]), vectors[4:5])
    model[15] = vectors[4]
    same(store, model, query, 30, None)
    store.delete(np.array([20, 20, 999_999]))
    del model[20]
    same(store, model, query, 30, None)
    assert store.stats()["count"] == 29


def test_empty_and_fewer_than_wanted(make: Make) -> None:
    store = make(8)
    query = some(1, 8)[0]
    same(store, {}, query, 4, None)
    store.delete(np.array([1]))
    store.add(np.empty(0, np.int64), np.empty((0, 8), np.float32))
    same(store, {}, query, 4, np.array([1, 2]))
    store.add(np.array([2**40]), query[None])  # a large id
    same(store, {2**40: query}, query, 4, None)
    assert store.search(query[None], 0)[0].shape == (1, 0)
    store.delete(np.array([2**40]))
    same(store, {}, query, 4, None)


def test_filter(make: Make) -> None:
    store = make(8)
    vectors = some(200, 8)
    model = dict(enumerate(vectors))
    store.add(np.arange(200), vectors)
    query = some(1, 8, seed=2)[0]
    for allowed in ([], [5], [3, 4, 500], list(range(0, 200, 2)), list(range(200)), list(range(100, 9000))):
        same(store, model, query, 6, np.array(allowed, np.int64))


def test_duplicates(make: Make) -> None:
    store = make(8)
    vectors = some(4, 8)
    store.add(np.array([7, 7, 8, 9, 10]), vectors[[0, 1, 2, 2, 2]])  # of an id given twice, the last counts
    model = {7: vectors[1], 8: vectors[2], 9: vectors[2], 10: vectors[2]}
    same(store, model, vectors[2], 4, None)
    assert set(store.search(vectors[2:3], 3)[0][0].tolist()) == {8, 9, 10}
    assert store.stats()["count"] == 4


def test_bad_input(make: Make) -> None:
    store = make(8)
    for ids, vectors in (
        (np.array([1]), some(1, 9)),
        (np.array([1, 2]), some(1, 8)),
        (np.array([-1]), some(1, 8)),
        (np.array([1]), np.full((1, 8), np.nan, np.float32)),
    ):
        with pytest.raises(BadInput):
            store.add(ids, vectors)
    with pytest.raises(BadInput):
        store.search(some(1, 9), 1)
    assert store.stats()["count"] == 0


def test_snapshot_goes_into_any_store(make: Make, tmp_path: Path) -> None:
    store = make(8)
    vectors = some(1200, 8)
    store.add(np.arange(1200) * 7, vectors)
    store.delete(np.array([0, 14]))
    model = {i * 7: v for i, v in enumerate(vectors) if i not in (0, 2)}
    store.snapshot(tmp_path / "copy")
    store.delete(np.array([7]))  # the copy is a copy
    other = make(8)
    restore(other, tmp_path / "copy")
    query = some(1, 8, seed=4)[0]
    for again in (other, ExactStore(8, tmp_path / "copy")):
        same(again, model, query, 20, None)
        assert again.stats()["count"] == 1198
    with pytest.raises(BadInput):
        restore(make(9), tmp_path / "copy")


def test_a_thousand_random_operations(make: Make) -> None:
    draws = np.random.default_rng(11)
    store, model = make(12), {}
    for step in range(300 if "http" in str(store.stats().get("address")) else 1000):
        kind = draws.integers(10)
        ids = draws.integers(0, 150, size=draws.integers(1, 6))
        if kind < 4:
            vectors = some(len(ids), 12, seed=step)
            if kind == 0 and model:  # a vector that another id has already
                vectors[0] = next(iter(model.values()))
            store.add(ids, vectors)
            model.update(zip(ids.tolist(), vectors))
        elif kind < 6:
            store.delete(ids)
            for identity in ids.tolist():
                model.pop(identity, None)
        elif kind == 6 and step % 50 == 0 and hasattr(store, "build"):
            store.build()
        else:
            allowed = np.unique(draws.integers(0, 150, size=draws.integers(0, 100))) if kind == 9 else None
            same(store, model, some(1, 12, seed=step)[0], int(draws.integers(1, 40)), allowed)
    assert store.stats()["count"] == len(model)


@pytest.mark.parametrize("name", ["exact", "ann", "lancedb", "qdrant"])
def test_follows_a_source(name: str, tmp_path: Path) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"{PACKAGES[name]} is not installed")
    address: dict[str, Any] = {"lancedb": {"address": tmp_path / "db"}, "qdrant": {"address": str(tmp_path / "db")}}
    source = DictSource(8)
    source.put(np.arange(60), some(60, 8))
    query = some(1, 8, seed=8)[0]
    store = open_follower(name, source, tmp_path / "cache", address.get(name))
    same(store, source.vectors, query, 9, None)
    source.put(np.array([4, 301]), np.stack([query, some(1, 8, seed=9)[0]]))
    source.drop([5, 6])
    same(store, source.vectors, query, 9, None)
    assert source.read_whole == 1
    store.prepare()
    if name == "qdrant":
        store.copy.client.close()  # type: ignore[attr-defined]
    read = source.read_whole
    again = open_follower(name, source, tmp_path / "cache", address.get(name))
    source.put(np.array([7]), query[None])
    same(again, source.vectors, query, 9, None)
    assert source.read_whole == read  # it knew where it was
    assert again.search(query[None], 2)[0][0].tolist() == [4, 7]


def test_qdrant_over_the_wire(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client", reason="qdrant_client is not installed")
    address = f"http://127.0.0.1:{server.server_address[1]}"
    store = open_store("qdrant", 8, {"address": address, "collection": "mine", "exact": True})
    created = [body for verb, path, body in server.asked if verb == "PUT" and path.startswith("/collections/mine")]
    assert created[0]["vectors"] == {"size": 8, "distance": "Dot"}
    store.add(np.arange(1100), some(1100, 8))
    batches = [body["batch"] for verb, path, body in server.asked if verb == "PUT" and "/points" in path]
    assert [len(batch["ids"]) for batch in batches] == [500, 500, 100]
    store.search(some(1, 8), 3, np.array([5, 6]))
    _, path, body = server.asked[-1]
    assert path.startswith("/collections/mine/points/query")
    assert body["limit"] == 3
    assert body["filter"] == {"must": [{"has_id": [5, 6]}]}
    assert body["params"]["exact"] is True
    store.search(some(1, 8), 3, np.arange(6000))  # too many to send
    assert "has_id" not in json.dumps(server.asked[-1][2])
    with pytest.raises(BadInput, match="choose another name"):
        open_store("qdrant", 9, {"address": address, "collection": "mine"})
    server.broken = True
    with pytest.raises(BadInput) as caught:
        store.search(some(1, 8), 3)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_sources_on_one_qdrant_server_are_apart(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client", reason="qdrant_client is not installed")
    options = {"address": f"http://127.0.0.1:{server.server_address[1]}"}
    first, second = DictSource(8), DictSource(8)
    for seed, source in enumerate((first, second)):  # as many vectors, at the same generation
        source.put(np.arange(20), some(20, 8, seed))
    query = some(1, 8, seed=8)[0]
    for _ in range(2):
        for name, source in (("guide", first), ("judge", second)):
            same(open_follower("qdrant", source, tmp_path / name, options), source.vectors, query, 5, None)
    assert [first.read_whole, second.read_whole] == [1, 1]


def test_qdrant_that_does_not_answer() -> None:
    pytest.importorskip("qdrant_client", reason="qdrant_client is not installed")
    with pytest.raises(BadInput, match="Qdrant"):
        open_store("qdrant", 8, {"address": "http://127.0.0.1:9"})


def test_names() -> None:
    assert set(STORES) >= {"exact", "ann", "lancedb", "qdrant"}
    with pytest.raises(BadInput, match="did you mean 'exact'"):
        open_store("exakt", 8)
    with pytest.raises(BadInput, match="no option 'colour'"):
        open_store("exact", 8, {"colour": 1})
    assert suggested(1000) == "exact"


def test_follows_a_catalogue(tmp_path: Path) -> None:
    vectors = some(41, 8)

    def entry(root: int, number: int) -> Entry:
        content = str(number).encode().ljust(32)
        return Entry(root, f"{number}.png".encode(), 1, 1, content, 1, 1, "", 0)

    with Catalogue.open(tmp_path / "index", create=True) as catalogue:
        (tmp_path / "pictures").mkdir()
        root = catalogue.add_root(tmp_path / "pictures").id
        ids = catalogue.record("tag", 8, [entry(root, i) for i in range(40)], list(vectors[:40]))
        source = catalogue.source("tag")
        store = open_follower("auto", source, tmp_path / "cache")
        assert store.search(vectors[5:6], 1)[0].tolist() == [[ids[5]]]
        catalogue.drop(root, [(ids[5], b"5.png")])
        (fresh,) = catalogue.record("tag", 8, [entry(root, 40)], [vectors[40]])
        assert ids[5] not in store.search(vectors[5:6], 40)[0]
        assert store.search(vectors[40:41], 1)[0].tolist() == [[fresh]]
        assert len(store) == source.count() == 40
        assert len(open_follower("exact", source, tmp_path / "cache")) == 40  # from the file


def test_lancedb_lies_in_the_index_where_no_address_is_given(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="lancedb is not installed")
    source = DictSource(8)
    source.put(np.arange(20), some(20, 8))
    for _ in range(2):
        same(open_follower("lancedb", source, tmp_path / "cache"), source.vectors, some(1, 8, seed=8)[0], 5, None)
    assert source.read_whole == 1
    assert (tmp_path / "cache" / "lancedb").is_dir()
