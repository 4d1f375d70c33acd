"""Qt resource bundles (``.rcc``, format versions 1 to 3), read as data: checked offsets, safe names, capped sizes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from lienzo.core.errors import BadInput

ZLIB, DIRECTORY, ZSTD = 1, 2, 4
MAX_FILES = 100_000
MAX_DEPTH = 64
MAX_INFLATED = 64 * 2**20


class _Bundle:
    def __init__(self, data: bytes):
        if data[:4] != b"qres" or len(data) < 20:
            raise BadInput("This is not a Qt resource bundle (.rcc): it does not begin with 'qres'.")
        self.data = data
        self.version, self.tree, self.blobs, self.names = struct.unpack_from(">4I", data, 4)
        if self.version not in (1, 2, 3):
            raise BadInput(f"This resource bundle has format version {self.version}; versions 1 to 3 are known.")
        self.node_size = 14 if self.version == 1 else 22

    def bytes_at(self, offset: int, length: int) -> bytes:
        if offset + length > len(self.data):
            raise BadInput("The resource bundle is broken: an offset points behind its end.")
        return self.data[offset : offset + length]

    def node(self, index: int) -> tuple[int, int, int, int]:
        """Name offset, flags, and the two numbers whose meaning depends on the kind of node."""
        raw = self.bytes_at(self.tree + index * self.node_size, self.node_size)
        name, flags = struct.unpack_from(">IH", raw)
        first, second = struct.unpack_from(">II", raw, 6)
        return name, flags, first, second

    def name(self, offset: int) -> str:
        start = self.names + offset
        (length,) = struct.unpack(">H", self.bytes_at(start, 2))
        text = self.bytes_at(start + 6, 2 * length).decode("utf-16-be", "replace")
        if not text or text in (".", "..") or any(char in text for char in "/\\\0:"):
            raise BadInput(f"The resource bundle holds a file with the unsafe name {text[:40]!r}.")
        return text

    def content(self, offset: int, flags: int) -> bytes:
        start = self.blobs + offset
        (length,) = struct.unpack(">I", self.bytes_at(start, 4))
        stored = self.bytes_at(start + 4, length)
        if flags & ZSTD:
            raise BadInput("The resource bundle is compressed with zstd, which is not supported.")
        if not flags & ZLIB:
            return stored
        (inflated,) = struct.unpack(">I", self.bytes_at(start + 4, 4))
        if inflated > MAX_INFLATED:
            raise BadInput(f"A file in the resource bundle would inflate to {inflated} bytes, which is too large.")
        inflater = zlib.decompressobj()
        try:
            found = inflater.decompress(stored[4:], inflated + 1)
        except zlib.error as error:
            raise BadInput("A compressed file in the resource bundle is broken.") from error
        if len(found) != inflated:
            raise BadInput("A compressed file in the resource bundle does not have the length that it claims.")
        return found


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a bundle as (path, content), in the order of its tree.

    Raises:
        BadInput: not a bundle, an offset outside it, an unsafe name, a ring of folders, or too large.
    """
    bundle = _Bundle(data)
    seen = 0
    waiting = [(0, "", 0)]
    while waiting:
        index, path, depth = waiting.pop()
        seen += 1
        if seen > MAX_FILES or depth > MAX_DEPTH:
            raise BadInput("The resource bundle holds too many files, or its folders go round in a ring.")
        name, flags, first, second = bundle.node(index)
        if index:
            path = f"{path}/{bundle.name(name)}" if path else bundle.name(name)
        if flags & DIRECTORY:
            if first > MAX_FILES:
                raise BadInput("The resource bundle holds too many files.")
            waiting += [(second + i, path, depth + 1) for i in reversed(range(first))]
        elif index:
            yield path, bundle.content(second, flags)
