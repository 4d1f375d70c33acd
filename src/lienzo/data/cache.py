"""Pictures decoded once: kept in a file beside a checksum a row, so that no crash can leave a wrong picture.

A row is written before its checksum, and a row whose checksum does not fit is decoded again. So the file needs no
locks: any number of threads and processes may fill it at once (they write the same bytes), and being killed at any
moment costs at most the rows in flight. The file is sparse and grows with what is decoded.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress
from lienzo.core.text import printable

CACHE_LIMIT = 20 * 10**9
MEMORY_LIMIT = 10**9
_PIECE = 16
_SECONDS = 0.2
_KINDS = (".pixels", ".checks")

Decode = Callable[[int], tuple[np.ndarray, bool]]
"""From a row to its picture (S, S, 3) uint8 and whether it had to be enlarged; raises BadInput."""


@dataclass
class Store:
    """Where decoded pictures are kept.

    Attributes:
        shape: (N, S, S, 3).
        checks: (N, 2) uint32: the CRC-32 of each picture's pixels, 0 until it is decoded, and 1 if it was enlarged.
        pixels: (N, S, S, 3) uint8; no rows where pictures are decoded whenever they are asked for.
        note: why there are no pixels, for a person.
    """

    shape: tuple[int, int, int, int]
    checks: np.ndarray
    pixels: np.ndarray
    note: str = ""
    file: BinaryIO | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.file is not None:
            weakref.finalize(self, self.file.close)

    def put(self, row: int, picture: np.ndarray, enlarged: bool) -> bool:
        """Keep a picture; False where it could not be kept. The checksum comes last."""
        content = np.ascontiguousarray(picture)
        kept = self._write(row, content) if len(self.pixels) else False
        self.checks[row, 1] = enlarged
        self.checks[row, 0] = checksum(content)
        return kept

    def _write(self, row: int, picture: np.ndarray) -> bool:
        """By writing, not through the mapping: on a full disk a mapping would end the process."""
        if self.file is None:
            self.pixels[row] = picture
            return True
        try:
            with self._lock:
                self.file.seek(row * picture.nbytes)
                return self.file.write(picture.data) == picture.nbytes
        except OSError as error:
            self.note = f"The cache of decoded pictures cannot be written ({error.strerror})."
            return False


def checksum(picture: np.ndarray) -> int:
    """CRC-32 of a contiguous picture's bytes, never 0."""
    return zlib.crc32(picture.data) or 1


def open_store(count: int, size: int, folder: Path | None, key: str, limit: int = CACHE_LIMIT) -> Store:
    """The store of a data set: two files in a folder, or memory without one.

    Args:
        count: number of pictures.
        size: their side in pixels.
        folder: where the files lie; caches of other data that were not used for longest are removed from it when
            together they would pass the limit. Without a folder up to 1 GB is kept in memory.
        key: changes with the data and with how they are decoded.
        limit: bytes that all pixels in the folder may take. A data set that is larger is decoded on demand; that
            each picture can be decoded is remembered all the same.

    Raises:
        BadInput: the folder cannot be written.
    """
    shape, none = (count, size, size, 3), (0, size, size, 3)
    needed = count * size * size * 3
    if folder is None:
        fits = needed <= min(limit, MEMORY_LIMIT)
        note = "" if fits else f"{_size(needed)} are too much for memory: without a cache folder they are decoded anew."
        return Store(shape, np.zeros((count, 2), np.uint32), np.zeros(shape if fits else none, np.uint8), note)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pixels, checks = (folder / f"{key}-{size}{kind}" for kind in _KINDS)
        _lengthen(checks, count * 8, sparse=False)
        table = np.memmap(checks, np.uint32, "r+", shape=(count, 2))
        note = _refusal(folder, pixels, needed, limit)
        if note:
            return Store(shape, table, np.zeros(none, np.uint8), note)
        _lengthen(pixels, needed, sparse=True)
        file = pixels.open("r+b", buffering=0)
        mapped = np.asarray(np.memmap(pixels, np.uint8, "r", shape=shape))
        for path in (pixels, checks):
            os.utime(path)
        return Store(shape, table, mapped, "", file)
    except OSError as error:
        shown = printable(str(folder), 200)
        raise BadInput(f"The cache folder '{shown}' cannot be written: {error.strerror}.") from error


def _lengthen(path: Path, length: int, sparse: bool) -> None:
    """Give a file its length; what it holds stays, so several processes may do it at once.

    A file that is not sparse gets its blocks now, so that writing through a mapping never fails.
    """
    with path.open("ab") as file:
        missing = length - file.seek(0, os.SEEK_END)
        if missing and sparse:
            file.truncate(length)
        elif missing > 0:
            file.write(bytes(missing))
        elif missing < 0:
            file.truncate(length)


def _refusal(folder: Path, path: Path, needed: int, limit: int) -> str:
    """Why the pixels cannot be kept, or nothing."""
    if needed > limit:
        return f"Decoded pictures would take {_size(needed)}, more than the {_size(limit)} allowed: none are kept."
    _make_room(folder, path, limit - needed)
    if needed - _taken(path) > shutil.disk_usage(folder).free:
        return f"Decoded pictures would take {_size(needed)}, more than the disk has free: none are kept."
    return ""


def _make_room(folder: Path, path: Path, allowed: int) -> None:
    """Remove caches of other data, those first that were not opened for longest, until they take what is allowed.

    A process that still reads one keeps it until it ends; where a system does not allow that, the file stays.
    """
    others = sorted((_opened_at(other), other) for other in folder.glob("*.pixels") if other != path)
    taken = sum(_taken(other) for _, other in others)
    for _, other in others:
        if taken <= allowed:
            return
        taken -= _taken(other)
        for kind in _KINDS:
            with suppress(OSError):
                other.with_suffix(kind).unlink()


def _opened_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _taken(path: Path) -> int:
    """Bytes that a file takes on the disk, which for a sparse one are fewer than its length."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return getattr(status, "st_blocks", status.st_size // 512) * 512


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


class Decoded:
    """Pictures that are decoded once and then read from a store; see `sets.Pictures`."""

    def __init__(self, decode: Decode, store: Store, names: Sequence[str], threads: int | None = None):
        """
        Args:
            decode: makes the picture of a row, always the same one.
            store: where pictures are kept.
            names: what to call each in messages.
            threads: how many decode at once; as many as this process has processors if None.
        """
        self.decode = decode
        self.store = store
        self.names = names
        self.threads = threads or min(32, usable_processors())
        self._rows = np.arange(len(self))
        self._trusted = np.zeros(len(self), bool)
        self._pool = ThreadPoolExecutor(self.threads, "decode")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.store.shape

    def __len__(self) -> int:
        return self.store.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        rows = self._rows[rows]
        flat = np.atleast_1d(rows).ravel()
        missing = list(self._untrusted(flat))
        if not missing and len(self.store.pixels):
            return self.store.pixels[rows]
        decoded = dict(zip(missing, self._pool.map(self._again, missing)))
        pictures = np.empty((len(flat), *self.shape[1:]), np.uint8)
        for place, row in enumerate(flat.tolist()):
            pictures[place] = decoded[row] if row in decoded else self.store.pixels[row]
        return pictures.reshape(*rows.shape, *self.shape[1:])

    def fill(self) -> Generator[Progress, None, dict[int, str]]:
        """Decode what is not in the store yet.

        Processes that fill the same store at once begin at different places and pass over what others have done.

        Yields:
            Progress, a few times a second.

        Returns:
            Why a row cannot be decoded, by row.
        """
        todo = np.flatnonzero(self.store.checks[:, 0] == 0)
        todo = np.roll(todo, -(os.getpid() * 7919 % max(1, len(todo))))
        pieces = iter([todo[start : start + _PIECE].tolist() for start in range(0, len(todo), _PIECE)])
        broken: dict[int, str] = {}
        began = shown = time.monotonic()
        done = 0
        with closing(self._in_threads(pieces)) as results:
            for count, reasons in results:
                broken.update(reasons)
                done += count
                if time.monotonic() - shown > _SECONDS or done == len(todo):
                    shown = time.monotonic()
                    yield Progress("Reading pictures", done, len(todo), shown - began, "picture")
        return dict(sorted(broken.items()))

    def _in_threads(self, pieces: Iterator[list[int]]) -> Generator[tuple[int, dict[int, str]], None, None]:
        """`_fill_rows` of each piece, in order, a few pieces ahead; closing it drops those that have not begun."""
        waiting: list[Future[tuple[int, dict[int, str]]]] = []
        try:
            waiting = [self._pool.submit(self._fill_rows, piece) for piece in islice(pieces, 4 * self.threads)]
            while waiting:
                result = waiting.pop(0).result()
                waiting.extend(self._pool.submit(self._fill_rows, piece) for piece in islice(pieces, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()

    def _fill_rows(self, rows: list[int]) -> tuple[int, dict[int, str]]:
        broken = {}
        for row in rows:
            if self.store.checks[row, 0]:
                continue  # another process did it meanwhile
            try:
                self._restored(row)
            except BadInput as error:
                broken[row] = str(error)
        return len(rows), broken

    def _restored(self, row: int) -> np.ndarray:
        """The picture of a row, decoded now; kept if possible."""
        picture, enlarged = self.decode(row)
        self._trusted[row] = self.store.put(row, picture, enlarged)
        return picture

    def _again(self, row: int) -> np.ndarray:
        try:
            return self._restored(row)
        except BadInput as error:
            name = printable(self.names[row], 200)
            raise BadInput(f"'{name}' could be read when the data were opened, but no more: {error}") from error

    def _untrusted(self, rows: np.ndarray) -> Iterator[int]:
        """Those of the rows that are not in the store, or not whole; each is checked once by a process."""
        for row in np.unique(rows[~self._trusted[rows]]).tolist():
            expected = self.store.checks[row, 0]
            if len(self.store.pixels) and expected and checksum(self.store.pixels[row]) == expected:
                self._trusted[row] = True
            else:
                yield row


def usable_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
