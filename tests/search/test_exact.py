"""The exact store: the same answers as float64, a file that no crash and no flipped bit can spoil, a copy in step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from vectors import DictSource, brute, pictures_and_texts, unit

from lienzo.core.errors import BadInput
from lienzo.search import exact as exact_module
from lienzo.search.checked_file import BLOCK, read_arrays, write_arrays
from lienzo.search.exact import FILE, ExactStore, read_rows
from lienzo.search.follow import Follower


def followed(source: DictSource, folder: Path | None = None) -> Follower:
    return Follower(source, ExactStore(source.dim, folder))


def small_source(count: int = 500, dim: int = 16) -> DictSource:
    source = DictSource(dim)
    source.put(np.arange(count) * 3, pictures_and_texts(count, dim, 1)[0])
    return source


def found(store, query: np.ndarray, k: int = 5) -> list[int]:
    return store.search(query[None], k)[0][0].tolist()


@pytest.mark.parametrize("dim", [8, 64, 512])
def test_equals_float64_with_duplicates_in_every_place(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lienzo.search.best.BLOCK_ROWS", 700)  # several blocks, the last one odd
    pictures, texts = pictures_and_texts(3000, dim, 70)  # more queries than one block of them
    pictures[[5, 699, 700, 2999, 1234]] = pictures[2000]
    ids = np.random.default_rng(1).permutation(10_000)[:3000]
    store = ExactStore(dim)
    store.add(ids[:2000], pictures[:2000])
    store.fold()
    store.add(ids[2000:], pictures[2000:])
    queries = np.concatenate((texts, pictures[2000:2001]))
    got, scores = store.search(queries, 12)
    for query, line, score in zip(queries, got, scores):
        assert line.tolist() == brute(ids, pictures, query, 12)
        assert np.allclose(score, pictures[[int(np.flatnonzero(ids == i)[0]) for i in line]] @ query, atol=1e-6)
    alone = np.concatenate([store.search(query[None], 12)[0] for query in queries])
    assert np.array_equal(alone, got)  # one query takes another path than many


@pytest.mark.parametrize("share", [0.01, 0.9])
def test_only_allowed_ids_are_found(share: float) -> None:
    pictures, texts = pictures_and_texts(2000, 32, 3)
    store = ExactStore(32)
    store.add(np.arange(1500), pictures[:1500])
    store.fold()
    store.add(np.arange(1500, 2000), pictures[1500:])
    store.delete(np.array([7, 1600]))
    allowed = np.flatnonzero(np.random.default_rng(0).random(2100) < share)
    there = np.setdiff1d(allowed[allowed < 2000], [7, 1600])
    for query in texts:
        got = store.search(query[None], 10, allowed)[0][0]
        assert got.tolist() == brute(there, pictures[there], query, 10)


def test_opening_again_maps_the_file_and_reads_nothing_from_the_source(tmp_path: Path) -> None:
    source = small_source()
    query = source.vectors[30]
    assert found(followed(source, tmp_path), query)[0] == 30
    assert source.read_whole == 1
    again = followed(source, tmp_path)
    assert found(again, query) == found(followed(source), query)
    assert source.read_whole == 2  # by the one without a folder
    base = again.copy.rows.base  # type: ignore[attr-defined]
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap) or "mmap" in type(base).__name__


def test_a_few_changes_are_taken_over_and_many_make_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_module, "FEW", 10)
    source = small_source(500)
    store = followed(source, tmp_path)
    store.refresh()
    fresh = pictures_and_texts(300, 16, 1, seed=5)[0]
    source.put(np.array([1, 3, 3]), fresh[:3])
    source.drop([0, 9])
    assert found(store, fresh[0])[0] == 1
    assert found(store, fresh[2])[0] == 3
    assert len(store) == source.count() == 499
    assert source.read_whole == 1
    source.put(np.arange(10_000, 10_150), fresh[150:])
    assert found(store, fresh[160])[0] == 10_010
    assert source.read_whole == 2  # more than a fifth
    assert followed(source, tmp_path).copy.generation == source.generation()


def test_another_source_behind_the_same_folder_is_noticed(tmp_path: Path) -> None:
    first, second = small_source(50), DictSource(16)
    followed(first, tmp_path).refresh()
    second.put(np.arange(20), pictures_and_texts(20, 16, 1, seed=9)[0])
    for _ in range(30):
        second.put(np.array([0]), second.vectors[0][None])
    assert second.generation() == first.generation()
    store = followed(second, tmp_path)
    assert found(store, second.vectors[4])[0] == 4
    assert len(store) == 20
    older = small_source(10)  # an index that was restored: its generation is lower
    store = followed(older, tmp_path)
    store.refresh()
    assert len(store) == 10


@pytest.mark.parametrize("damage", ["empty", "half", "no end", "flip", "flip ids", "footer", "zeros", "text", "longer"])
def test_a_broken_file_is_made_again(tmp_path: Path, damage: str) -> None:
    source = small_source(9000, 64)  # three blocks of checksums
    followed(source, tmp_path).refresh()
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    assert len(data) > 2 * BLOCK
    if damage == "empty":
        data = bytearray()
    elif damage == "half":
        data = data[: len(data) // 2]
    elif damage == "no end":
        data = data[:-1]
    elif damage == "flip":
        data[BLOCK + 777] ^= 1
    elif damage == "flip ids":
        data[-70_000] ^= 64
    elif damage == "footer":
        data[-60] ^= 1
    elif damage == "zeros":
        data[BLOCK:] = bytes(len(data) - BLOCK)
    elif damage == "text":
        data = bytearray(b"not such a file" * 1000)
    else:
        data += b"more"
    path.write_bytes(data)
    assert read_arrays(path) is None
    store = followed(source, tmp_path)
    assert found(store, source.vectors[300])[0] == 300
    assert source.read_whole == 2
    assert read_arrays(path) is not None


def test_a_file_of_other_arrays_counts_as_none(tmp_path: Path) -> None:
    source = small_source(20)
    for parts in (
        [("ids", np.arange(3))],
        [("vectors", np.zeros((3, 16), np.float32)), ("ids", np.arange(2))],
        [("vectors", np.zeros((2, 16), np.float32)), ("ids", np.array([5, 5]))],
    ):
        write_arrays(tmp_path / FILE, parts, {"dim": 16, "generation": source.generation(), "stamp": "x"})
        assert read_arrays(tmp_path / FILE) is not None
        store = followed(source, tmp_path)
        store.refresh()
        assert len(store) == 20


def test_without_permission_it_works_from_memory(tmp_path: Path) -> None:
    source = small_source()
    (tmp_path / "file").write_text("in the way")
    store = followed(source, tmp_path / "file" / "cache")
    assert found(store, source.vectors[30])[0] == 30
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        assert found(followed(source, tmp_path / "locked"), source.vectors[30])[0] == 30


def test_readers_go_on_while_others_make_the_file_anew(tmp_path: Path) -> None:
    source = small_source(2000)
    reader = followed(source, tmp_path)
    reader.refresh()
    query, stop = source.vectors[30], threading.Event()
    wrong: list[dict[str, object]] = []

    def rebuild() -> None:
        while not stop.is_set():
            ExactStore(16, tmp_path).rebuild(source)

    threads = [threading.Thread(target=rebuild) for _ in range(2)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        wrong += [each.stats() for each in (reader, followed(source, tmp_path)) if found(each, query)[0] != 30]
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]


_KILLED = """
import sys
from pathlib import Path
import numpy as np
from lienzo.search.exact import ExactStore
folder, store = Path(sys.argv[1]), ExactStore(64)
print("ready", flush=True)
while True:
    count = int(np.random.randint(1, 4000))
    store.clear()
    store.add(np.arange(count), np.full((count, 64), count / 4000, np.float32))
    store.snapshot(folder)
"""


def test_kill_9_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    seen = 0
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(draws.uniform(0.02, 0.25))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        if (tmp_path / FILE).exists():
            ids, vectors = (np.concatenate(part) for part in zip(*read_rows(tmp_path)))
            assert len(ids)
            assert (vectors == np.float32(len(ids) / 4000)).all()
            seen += 1
    assert seen
    (tmp_path / ".mine.rows").write_text("not ours")
    for left in tmp_path.glob(".*"):
        os.utime(left, (1, 1))
    ExactStore(64).snapshot(tmp_path)
    # What the killed ones left is swept away.
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.rows", FILE]


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    store = ExactStore(4)
    for ids, vectors in (([1], np.zeros((1, 5))), ([1, 2], np.zeros((1, 4))), ([-1], np.zeros((1, 4)))):
        with pytest.raises(BadInput):
            store.add(np.array(ids), vectors)
    with pytest.raises(BadInput, match="not a number"):
        store.add(np.array([1]), np.full((1, 4), np.nan))
    with pytest.raises(BadInput, match="not a number"):
        store.search(np.full((1, 4), np.inf, np.float32), 3)
    with pytest.raises(BadInput):
        store.search(np.zeros(4, np.float32), 3)
    with pytest.raises(BadInput, match="no whole copy"):
        list(read_rows(tmp_path))
    with pytest.raises(BadInput, match="add to the index"):
        followed(small_source()).add(np.array([1]), unit(np.ones((1, 16))))
    with pytest.raises(BadInput, match="4 numbers"):
        Follower(small_source(), store)


def test_needs_no_torch() -> None:
    code = "import sys, lienzo.search.stores, lienzo.search.exchange; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
