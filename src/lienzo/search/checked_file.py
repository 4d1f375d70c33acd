"""Arrays in one file that is either whole or refused: streamed in, memory-mapped out, with checksums.

After a signature come the arrays one behind the other, then a JSON footer (names, types, shapes, facts and a CRC of
every MiB), then where the footer begins. The file gets a modification time of its own choosing: while it still has it,
nobody has written into the file since, and only a few blocks are checked on opening; otherwise all are.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lienzo.core.files import replacing

SIGNATURE = b"lienzo arrays 1\n"
START = 4096
BLOCK = 1 << 20
SPOT_CHECKS = 16
LEFT_BEHIND = 600.0  # seconds after which an unfinished file belongs to nobody
_TAIL = struct.Struct("<QQI")  # where the footer begins, its length, its CRC
_TYPES = ("float32", "float16", "int64", "uint8")


@dataclass(frozen=True)
class Arrays:
    """What a file holds: JSON-able facts and read-only arrays, mapped rather than read."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def write_arrays(path: Path, parts: Iterable[tuple[str, np.ndarray]], facts: dict[str, Any]) -> None:
    """Write named arrays to `path`, whole or not at all; parts that follow each other under one name are one array.

    Raises:
        BadInput: the file cannot be written.
    """
    _sweep(path)
    with replacing(path) as temporary:
        stamp = int(time.time()) // 2 * 2 * 10**9  # even seconds: every file system can keep them
        with temporary.open("wb") as file:
            _write(file, parts, facts, stamp)
        os.utime(temporary, ns=(stamp, stamp))


def read_arrays(path: Path) -> Arrays | None:
    """The arrays of a file, or None when it is missing, cut off, changed, or not such a file."""
    try:
        with path.open("rb") as file:
            footer = _footer(file)
            if footer is None:
                return None
            whole = os.fstat(file.fileno()).st_mtime_ns != footer["stamp"]
            if not _sums_fit(file, footer["sums"], footer["end"], whole):
                return None
            arrays = {name: _mapped(file, *place) for name, place in footer["arrays"].items()}
            return Arrays(footer["facts"], arrays)
    except (OSError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        return None


def _write(file: BinaryIO, parts: Iterable[tuple[str, np.ndarray]], facts: dict[str, Any], stamp: int) -> None:
    file.write(SIGNATURE.ljust(START, b"\0"))
    sums = _Sums()
    places: dict[str, list[Any]] = {}  # name: [type, shape, offset]
    offset, last = START, None
    for name, part in parts:
        array = np.ascontiguousarray(part)
        if name != last:
            gap = -offset % 64
            file.write(b"\0" * gap)
            sums.feed(memoryview(b"\0" * gap))
            offset += gap
            places[name] = [str(array.dtype), [0, *array.shape[1:]], offset]
            last = name
        places[name][1][0] += len(array)
        if array.size:
            data = array.reshape(-1).view(np.uint8).data
            file.write(data)
            sums.feed(data)
        offset += array.nbytes
    footer = {"arrays": places, "facts": facts, "sums": sums.finish(), "end": offset, "stamp": stamp}
    text = json.dumps(footer).encode()
    file.write(text + _TAIL.pack(offset, len(text), zlib.crc32(text)))


class _Sums:
    """CRC-32 of every block of a stream."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.sum, self.length = 0, 0

    def feed(self, data: memoryview) -> None:
        while len(data):
            part = data[: BLOCK - self.length]
            self.sum = zlib.crc32(part, self.sum)
            self.length += len(part)
            data = data[len(part) :]
            if self.length == BLOCK:
                self.finish()

    def finish(self) -> list[int]:
        if self.length:
            self.done.append(self.sum)
        self.sum, self.length = 0, 0
        return self.done


def _footer(file: BinaryIO) -> dict[str, Any] | None:
    size = os.fstat(file.fileno()).st_size
    if size < START + _TAIL.size or file.read(len(SIGNATURE)) != SIGNATURE:
        return None
    file.seek(size - _TAIL.size)
    begin, length, check = _TAIL.unpack(file.read(_TAIL.size))
    if begin + length + _TAIL.size != size or begin < START:
        return None
    file.seek(begin)
    text = file.read(length)
    if zlib.crc32(text) != check:
        return None
    footer: dict[str, Any] = json.loads(text)
    return footer if footer["end"] == begin else None


def _sums_fit(file: BinaryIO, sums: list[int], end: int, whole: bool) -> bool:
    blocks = math.ceil((end - START) / BLOCK)
    if len(sums) != blocks:
        return False
    some = (
        range(blocks) if whole else sorted({int(i) for i in np.linspace(0, blocks - 1, SPOT_CHECKS)} if blocks else ())
    )
    for i in some:
        file.seek(START + i * BLOCK)
        if zlib.crc32(file.read(min(BLOCK, end - START - i * BLOCK))) != sums[i]:
            return False
    return True


def _mapped(file: BinaryIO, dtype: str, shape: list[int], offset: int) -> np.ndarray:
    if dtype not in _TYPES:
        raise ValueError(dtype)
    if 0 in shape:
        return np.empty(shape, dtype)
    # A plain view of the map: slicing np.memmap itself costs a Python call a slice.
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=tuple(shape)))


def _sweep(path: Path) -> None:
    """Remove what killed writers left beside `path`; one that is still at work has touched its file lately."""
    with suppress(OSError):
        for left in path.parent.glob(f".{'[0-9a-f]' * 16}{path.suffix}"):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND:
                left.unlink()
