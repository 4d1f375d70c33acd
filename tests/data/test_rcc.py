import struct
import zlib

import pytest

from lienzo.core.errors import BadInput
from lienzo.data.rcc import read_rcc

Tree = dict[str, "Tree | bytes | tuple[int, bytes]"]


class Writer:
    """Writes a bundle the way Qt lays it out: breadth first, children of a folder next to each other."""

    def __init__(self, version: int):
        self.version, self.nodes, self.names, self.data = version, [], b"", b""

    def name(self, text: str) -> int:
        offset = len(self.names)
        self.names += struct.pack(">HI", len(text.encode("utf-16-be")) // 2, 0) + text.encode("utf-16-be")
        return offset

    def blob(self, content: "bytes | tuple[int, bytes]") -> tuple[int, int]:
        flags, stored = (0, content) if isinstance(content, bytes) else content
        if flags == 1:
            stored = struct.pack(">I", len(stored)) + zlib.compress(stored)
        offset = len(self.data)
        self.data += struct.pack(">I", len(stored)) + stored
        return flags, offset

    def add(self, tree: Tree) -> bytes:
        self.nodes = [None]
        waiting = [(0, 0, tree)]
        for place, name, folder in waiting:
            first = len(self.nodes)
            self.nodes[place] = (name, 2, struct.pack(">II", len(folder), first))
            self.nodes += [None] * len(folder)
            for index, (text, child) in enumerate(folder.items(), start=first):
                if isinstance(child, dict):
                    waiting.append((index, self.name(text), child))
                else:
                    flags, offset = self.blob(child)
                    self.nodes[index] = (self.name(text), flags, struct.pack(">HHI", 0, 1, offset))
        return self.finish()

    def finish(self) -> bytes:
        time = b"" if self.version == 1 else b"\0" * 8
        tree = b"".join(struct.pack(">IH", name, flags) + rest + time for name, flags, rest in self.nodes)
        start = 24 if self.version == 3 else 20
        offsets = (start + len(self.data) + len(self.names), start, start + len(self.data))
        header = b"qres" + struct.pack(">4I", self.version, *offsets)
        return header + (struct.pack(">I", 1) if self.version == 3 else b"") + self.data + self.names + tree


FILES: Tree = {
    "art": {"board": {"b1.qml": b"text"}, "ñandú.webp": (1, b"picture " * 50)},
    "README": b"",
}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_gives_the_files_and_their_content(version: int) -> None:
    found = dict(read_rcc(Writer(version).add(FILES)))
    assert found == {"art/board/b1.qml": b"text", "art/ñandú.webp": b"picture " * 50, "README": b""}


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a\\b", "", "c:", "a\0b"])
def test_names_that_could_leave_a_folder_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="unsafe name"):
        list(read_rcc(Writer(3).add({"good": {name: b"x"}})))


@pytest.mark.parametrize(("place", "value"), [(8, 2**31), (12, 2**31), (16, 2**31), (4, 9)])
def test_offsets_behind_the_end_and_unknown_versions_are_refused(place: int, value: int) -> None:
    data = bytearray(Writer(3).add(FILES))
    data[place : place + 4] = struct.pack(">I", value)
    with pytest.raises(BadInput):
        list(read_rcc(bytes(data)))


def test_every_cut_off_bundle_is_refused() -> None:
    data = Writer(2).add(FILES)
    for length in range(0, len(data), 7):
        with pytest.raises(BadInput):
            list(read_rcc(data[:length]))


def test_a_ring_of_folders_ends_in_a_refusal() -> None:
    writer = Writer(1)
    writer.nodes = [(0, 2, struct.pack(">II", 1, 1)), (writer.name("a"), 2, struct.pack(">II", 1, 1))]
    with pytest.raises(BadInput, match="ring"):
        list(read_rcc(writer.finish()))


def test_a_bomb_and_a_false_length_are_refused() -> None:
    for claimed, message in ((2**32 - 1, "too large"), (10, "length")):
        writer = Writer(3)
        writer.nodes = [(0, 2, struct.pack(">II", 1, 1)), (writer.name("a"), 1, struct.pack(">HHI", 0, 1, 0))]
        stored = struct.pack(">I", claimed) + zlib.compress(b"\0" * 100_000)
        writer.data = struct.pack(">I", len(stored)) + stored
        with pytest.raises(BadInput, match=message):
            list(read_rcc(writer.finish()))


def test_zstd_is_named_as_what_is_missing() -> None:
    with pytest.raises(BadInput, match="zstd"):
        list(read_rcc(Writer(3).add({"a": (4, b"?")})))
