"""Zip archives as torch writes them, read in place from a mapped file.

Python's `zipfile` builds an object for every entry that the table of contents claims and trusts sizes when it
unpacks. Here the table is checked before it is used: number of entries, places inside the file, no overlap, no
name twice; and unpacking stops at the stated size. Names are only looked up, never turned into paths.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from lienzo.weights.inert import Fault

MAX_ENTRIES = 200_000
MAX_UNPACKED = 16 << 30  # bytes
MAX_RATIO = 200  # unpacked bytes for a packed byte, for entries above 1 MiB
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive: where it begins and how long it is, packed and unpacked, in bytes."""

    deflated: bool
    start: int
    packed: int
    size: int


class Archive:
    """The entries of a zip file.

    Args:
        data: The whole file.

    Raises:
        Fault: the file is cut off, contradicts itself, or is built to explode.
    """

    def __init__(self, data: memoryview):
        self.data = data
        self.entries: dict[str, Entry] = {}
        self._unpacked = 0
        start, length, count = self._find_table()
        if count > MAX_ENTRIES:
            raise Fault(f"is an archive of {count} entries, more than {MAX_ENTRIES}")
        if count * _CENTRAL.size > length:
            raise Fault("has a broken table of contents")
        self._read_table(start, length, count)
        self._check_overlap(start)

    def read(self, name: str, limit: int | None = None) -> memoryview:
        """The unpacked bytes of an entry, without a copy where it is stored unpacked.

        Raises:
            Fault: there is no such entry, or it is larger than `limit` bytes, or it explodes.
        """
        if name not in self.entries:
            raise Fault("lacks a part that it refers to")
        entry = self.entries[name]
        if limit is not None and entry.size > limit:
            raise Fault(f"has a part of {entry.size} bytes where at most {limit} make sense")
        packed = self.data[entry.start : entry.start + entry.packed]
        if not entry.deflated:
            return packed
        self._unpacked += entry.size
        exploding = entry.size > 1 << 20 and entry.size > MAX_RATIO * max(entry.packed, 1)
        if exploding or self._unpacked > MAX_UNPACKED:
            raise Fault("unpacks to far more than its size (an archive bomb)")
        try:
            unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size + 1)
        except zlib.error as error:
            raise Fault("has a broken compressed part") from error
        if len(unpacked) != entry.size:
            raise Fault("has a compressed part of another size than it states")
        return memoryview(bytearray(unpacked))

    def _find_table(self) -> tuple[int, int, int]:
        """Start, length and number of entries of the table of contents."""
        tail_start = max(0, len(self.data) - _END.size - 0xFFFF)
        tail = bytes(self.data[tail_start:])
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or at + _END.size > len(tail):
            raise Fault("is cut off: the table of contents at its end is missing")
        end = tail_start + at
        _, disk, first_disk, _, count, length, start, comment = _END.unpack_from(self.data, end)
        if disk or first_disk or end + _END.size + comment != len(self.data):
            raise Fault("has a broken table of contents")
        locator = end - _LOCATOR64.size
        if locator >= 0 and bytes(self.data[locator : locator + 4]) == b"PK\x06\x07":
            end = _LOCATOR64.unpack_from(self.data, locator)[2]
            if end + _END64.size > locator or bytes(self.data[end : end + 4]) != b"PK\x06\x06":
                raise Fault("has a broken table of contents")
            *_, count, length, start = _END64.unpack_from(self.data, end)
        if start + length > end:
            raise Fault("is cut off or has a broken table of contents")
        return start, length, count

    def _read_table(self, start: int, length: int, count: int) -> None:
        position, end = start, start + length
        for _ in range(count):
            if position + _CENTRAL.size > end:
                raise Fault("has a broken table of contents")
            fields = _CENTRAL.unpack_from(self.data, position)
            flags, method = fields[5], fields[6]
            packed, size, name_length, extra_length, comment_length = fields[10:15]
            if fields[0] != b"PK\x01\x02" or flags & 0x41 or method not in (0, 8):
                raise Fault("has a broken, encrypted or unusually packed part")
            name_start = position + _CENTRAL.size
            extra_start = name_start + name_length
            position = extra_start + extra_length + comment_length
            if position > end:
                raise Fault("has a broken table of contents")
            name = str(self.data[name_start:extra_start], "utf-8", "replace")
            extra = bytes(self.data[extra_start : extra_start + extra_length])
            size, packed, local = _zip64(extra, size, packed, fields[-1])
            if name in self.entries:
                raise Fault("holds two parts of one name")
            self.entries[name] = Entry(method == 8, self._start(local), packed, size)
            if method == 0 and size != packed:
                raise Fault("has a part of another size than it states")

    def _start(self, local: int) -> int:
        """Where the bytes of the entry begin whose own header is at `local`."""
        if local + _LOCAL.size > len(self.data):
            raise Fault("is cut off or has a broken table of contents")
        fields = _LOCAL.unpack_from(self.data, local)
        if fields[0] != b"PK\x03\x04":
            raise Fault("has a table of contents that does not fit its parts")
        return local + _LOCAL.size + fields[-2] + fields[-1]

    def _check_overlap(self, end: int) -> None:
        last = 0
        for entry in sorted(self.entries.values(), key=lambda entry: (entry.start, entry.packed)):
            if entry.start < last:
                raise Fault("has parts that overlap (an archive bomb)")
            last = entry.start + entry.packed
        if last > end:
            raise Fault("is cut off or has a broken table of contents")


def _zip64(extra: bytes, size: int, packed: int, local: int) -> tuple[int, int, int]:
    """Replace the sizes and the place that did not fit 32 bits by those of the zip64 field."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        field = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if kind != 1:
            continue
        wide = [value for (value,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
        values = []
        for value in (size, packed, local):
            if value == 0xFFFFFFFF:
                if not wide:
                    raise Fault("has a broken table of contents")
                value = wide.pop(0)
            values.append(value)
        return values[0], values[1], values[2]
    return size, packed, local
