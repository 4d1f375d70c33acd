import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.events import Progress
from lienzo.data import cache
from lienzo.data.cache import Decoded, checksum, open_store
from lienzo.data.opening import last

COUNT, SIZE = 200, 8


def picture(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


EXPECTED = np.stack([picture(row) for row in range(COUNT)])


class Counting:
    """Decodes and remembers what it was asked for."""

    def __init__(self, broken: tuple[int, ...] = ()):
        self.rows: list[int] = []
        self.broken = broken

    def __call__(self, row: int) -> tuple[np.ndarray, bool]:
        self.rows.append(row)
        if row in self.broken:
            raise BadPicture("The picture is broken.")
        return picture(row), row == 5


def opened(decode: Counting, folder: Path | None, key: str = "key", limit: int = 10**9) -> Decoded:
    return Decoded(decode, open_store(COUNT, SIZE, folder, key, limit), [f"{n}.png" for n in range(COUNT)], threads=3)


def watched(steps: Generator, seen: list) -> Generator:
    """The same generator; what it yields is kept."""
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value
        yield seen[-1]


@pytest.mark.parametrize("place", ["folder", "memory", "nowhere"])
def test_every_way_of_keeping_gives_the_same_pictures(tmp_path, place) -> None:
    decode = Counting(broken=(3, 77))
    limit = 1000 if place == "nowhere" else 10**9
    pictures = opened(decode, tmp_path if place == "folder" else None, limit=limit)
    events: list[Progress] = []
    assert last(watched(pictures.fill(), events)) == {3: "The picture is broken.", 77: "The picture is broken."}
    assert isinstance(events[-1], Progress)
    assert (events[-1].done, events[-1].total) == (COUNT, COUNT)
    assert sorted(decode.rows) == list(range(COUNT))
    good = np.delete(np.arange(COUNT), [3, 77])
    rows = np.random.default_rng(0).permutation(np.concatenate([good, good[:20]]))
    assert np.array_equal(pictures[rows], EXPECTED[rows])
    assert np.array_equal(pictures[rows.reshape(2, -1)], EXPECTED[rows.reshape(2, -1)])
    assert np.array_equal(pictures[np.array([-1, 9])], EXPECTED[[-1, 9]])
    assert np.array_equal(pictures[8:12], EXPECTED[8:12])
    assert np.array_equal(pictures[11], EXPECTED[11])
    assert pictures[np.array([], int)].shape == (0, SIZE, SIZE, 3)
    assert (len(decode.rows) == COUNT) == (place != "nowhere")
    assert bool(pictures.store.note) == (place == "nowhere")
    assert pictures.store.checks[good, 1].nonzero()[0].tolist() == [4]
    with pytest.raises(IndexError):
        pictures[np.array([COUNT])]


def test_a_second_opening_decodes_nothing_but_what_was_broken(tmp_path) -> None:
    last(opened(Counting(broken=(3,)), tmp_path).fill())
    again = Counting(broken=(3,))
    pictures = opened(again, tmp_path)
    assert last(pictures.fill()) == {3: "The picture is broken."}
    assert again.rows == [3]
    rows = np.arange(4, COUNT)
    assert np.array_equal(pictures[rows], EXPECTED[4:])
    assert again.rows == [3]
    other = Counting()
    last(opened(other, tmp_path, key="other").fill())
    assert len(other.rows) == COUNT


def test_rows_that_are_not_whole_are_decoded_again(tmp_path) -> None:
    last(opened(Counting(), tmp_path).fill())
    with (tmp_path / f"key-{SIZE}.pixels").open("r+b") as file:
        file.seek(10 * SIZE * SIZE * 3 + 5)
        file.write(b"\x00\x01\x02\x03")
    with (tmp_path / f"key-{SIZE}.checks").open("r+b") as file:
        file.seek(20 * 8)
        file.write(bytes(8))
    decode = Counting()
    pictures = opened(decode, tmp_path)
    last(pictures.fill())
    assert decode.rows == [20]
    assert np.array_equal(pictures[np.arange(COUNT)], EXPECTED)
    assert decode.rows == [20, 10]
    assert np.array_equal(pictures[np.arange(COUNT)], EXPECTED)
    assert len(decode.rows) == 2
    (tmp_path / f"key-{SIZE}.pixels").write_bytes(b"cut off")
    pictures = opened(decode, tmp_path)
    assert np.array_equal(pictures[np.arange(COUNT)], EXPECTED)
    assert np.array_equal(opened(Counting(), tmp_path)[np.arange(COUNT)], EXPECTED)


def test_a_picture_that_goes_away_later_is_named(tmp_path) -> None:
    last(opened(Counting(), tmp_path).fill())
    (tmp_path / f"key-{SIZE}.pixels").write_bytes(b"")
    with pytest.raises(BadInput, match=r"'7\.png' could be read when the data were opened, but no more: The picture"):
        opened(Counting(broken=(7,)), tmp_path)[np.array([6, 7])]


CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from lienzo.data.cache import Decoded, open_store
from lienzo.data.opening import last
folder, wait = Path(sys.argv[1]), float(sys.argv[2])
done = []
def decode(row):
    time.sleep(wait)
    done.append(row)
    return np.random.default_rng(row).integers(0, 256, (8, 8, 3), np.uint8), False
pictures = Decoded(decode, open_store(200, 8, folder, "key"), [""] * 200, threads=2)
print("ready", flush=True)
assert last(pictures.fill()) == {}
expected = np.stack([np.random.default_rng(row).integers(0, 256, (8, 8, 3), np.uint8) for row in range(200)])
assert np.array_equal(pictures[np.arange(200)], expected)
print(len(done), flush=True)
"""


def start_child(folder: Path, wait: float) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(folder), str(wait)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_at_any_moment_it_goes_on(tmp_path) -> None:
    for delay in (0.0, 0.05, 0.2):
        child = start_child(tmp_path, 0.004)
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    decode = Counting()
    pictures = opened(decode, tmp_path)
    assert last(pictures.fill()) == {}
    assert 0 < len(decode.rows) < COUNT  # neither everything again nor nothing left to do
    assert np.array_equal(pictures[np.arange(COUNT)], EXPECTED)


def test_processes_share_the_work(tmp_path) -> None:
    children = [start_child(tmp_path, 0.004) for _ in range(3)]
    outputs = [child.communicate()[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert COUNT <= sum(int(output[1]) for output in outputs) < 3 * COUNT
    assert np.array_equal(opened(Counting(broken=tuple(range(COUNT))), tmp_path)[np.arange(COUNT)], EXPECTED)


def test_what_another_process_did_meanwhile_is_passed_over(tmp_path) -> None:
    other = opened(Counting(), tmp_path)
    decode = Counting()

    def overtaken(row: int) -> tuple[np.ndarray, bool]:
        if not decode.rows:
            last(other.fill())
        return decode(row)

    pictures = Decoded(overtaken, open_store(COUNT, SIZE, tmp_path, "key"), [""] * COUNT, threads=1)
    assert last(pictures.fill()) == {}
    assert len(decode.rows) == 1
    assert np.array_equal(pictures[np.arange(COUNT)], EXPECTED)


def test_many_threads_read_while_it_fills(tmp_path) -> None:
    pictures = opened(Counting(), tmp_path)
    wrong = []

    def read(seed: int) -> None:
        for _ in range(20):
            rows = np.random.default_rng(seed).integers(0, COUNT, 30)
            if not np.array_equal(pictures[rows], EXPECTED[rows]):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    last(pictures.fill())
    for thread in threads:
        thread.join()
    assert not wrong


def test_closing_it_stops_the_work(tmp_path) -> None:
    decode = Counting()

    def slow(row: int) -> tuple[np.ndarray, bool]:
        time.sleep(0.02)
        return decode(row)

    store = open_store(5000, SIZE, tmp_path, "key")
    pictures = Decoded(slow, store, [""] * 5000, threads=2)
    steps = pictures.fill()
    assert next(steps).done < 5000
    steps.close()
    time.sleep(0.5)
    seen = len(decode.rows)
    time.sleep(0.1)
    assert len(decode.rows) == seen < 200


def test_the_file_is_sparse_and_the_limit_holds(tmp_path) -> None:
    pictures = opened(Counting(), tmp_path)
    path = tmp_path / f"key-{SIZE}.pixels"
    assert path.stat().st_size == EXPECTED.nbytes
    assert path.stat().st_blocks == 0
    assert pictures.store.note == ""
    small = opened(Counting(), tmp_path / "small", limit=EXPECTED.nbytes - 1)
    assert "more than" in small.store.note
    last(small.fill())
    assert [entry.suffix for entry in (tmp_path / "small").iterdir()] == [".checks"]
    again = Counting()
    last(opened(again, tmp_path / "small", limit=EXPECTED.nbytes - 1).fill())
    assert again.rows == []  # what can be decoded is remembered


def test_caches_that_were_not_used_for_longest_make_room(tmp_path) -> None:
    limit = 3 * 8192 * 10
    for number, key in enumerate(("first", "second", "third")):
        store = open_store(320, SIZE, tmp_path, key, limit)  # 61 440 bytes each
        for row in range(320):
            store.put(row, EXPECTED[row % COUNT], False)
        os.utime(tmp_path / f"{key}-{SIZE}.pixels", (1000 + number, 1000 + number))
    open_store(320, SIZE, tmp_path, "first", limit)
    open_store(960, SIZE, tmp_path, "large", limit)
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"first", "large"}


def test_a_full_disk_costs_time_but_no_pictures(tmp_path, monkeypatch) -> None:
    pictures = opened(Counting(), tmp_path)

    class Full:
        def seek(self, place: int) -> None: ...

        def write(self, data: memoryview) -> int:
            raise OSError(28, "No space left on device")

    pictures.store.file.close()
    pictures.store.file = Full()
    last(pictures.fill())
    assert np.array_equal(pictures[np.arange(COUNT)], EXPECTED)
    assert "No space left on device" in pictures.store.note
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    assert "disk" in opened(Counting(), tmp_path / "other").store.note


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cache folder"):
        open_store(3, 8, tmp_path / "file" / "below", "key")


def test_a_checksum_is_never_nothing(monkeypatch) -> None:
    assert checksum(EXPECTED[0]) != checksum(EXPECTED[1])
    monkeypatch.setattr(cache.zlib, "crc32", lambda data: 0)
    assert checksum(EXPECTED[0]) == 1
