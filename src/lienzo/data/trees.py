"""The files below a root, by path, whether the root is a folder or an archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.imaging.reading import read_bytes

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
Stamp = tuple[int, int]
"""Length in bytes, and time of change or checksum."""


@dataclass(frozen=True)
class FileTree:
    """Files below a root.

    Attributes:
        title: what to call the root in messages.
        files: stamp by path, with ``/`` between folders, in sorted order.
        read: the content by path, if it is not longer than the given limit; raises BadInput. Safe to call from
            several threads.
        problems: sentences about files that were passed over.
    """

    title: str
    files: dict[str, Stamp] = field(repr=False)
    read: Callable[[str, int], bytes] = field(repr=False)
    problems: tuple[str, ...] = ()

    def pictures(self) -> list[str]:
        """The paths whose suffix is that of a picture."""
        return [path for path in self.files if path.lower().endswith(PICTURE_SUFFIXES)]

    def folders(self) -> set[str]:
        """Names of the folders directly below the root."""
        return {path.partition("/")[0] for path in self.files if "/" in path}

    def below(self, folder: str) -> FileTree:
        """The files of a folder, which becomes the root."""
        start, read = f"{folder}/", self.read
        files = {path.removeprefix(start): stamp for path, stamp in self.files.items() if path.startswith(start)}
        return replace(self, files=files, read=lambda path, limit: read(start + path, limit))


def folder_tree(folder: Path) -> FileTree:
    """The files of a folder and of those in it. Hidden ones are passed over; links are followed, but no folder is
    read twice.

    Raises:
        BadInput: the folder cannot be read.
    """
    files = dict(sorted(_scan(folder)))

    def read(path: str, limit: int) -> bytes:
        return read_bytes(folder / path, limit)

    return FileTree(f"'{printable(str(folder), 200)}'", files, read)


def _scan(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """Folders are visited in sorted order, so that a folder linked twice is always found at the same place."""
    seen: set[tuple[int, int]] = set()
    waiting = [(str(folder), "")]
    while waiting:
        path, inner = waiting.pop()
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen and status.st_ino:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                found = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError as error:
            shown = printable(inner or str(folder), 200)
            raise BadInput(f"The folder '{shown}' cannot be read: {error.strerror}.") from error
        folders = []
        for entry in found:
            try:
                if entry.is_dir():
                    folders.append((entry.path, f"{inner}{entry.name}/"))
                elif entry.is_file():
                    status = entry.stat()
                    yield f"{inner}{entry.name}", (status.st_size, status.st_mtime_ns)
            except OSError:
                continue  # a link that leads nowhere or round in a circle
        waiting.extend(reversed(folders))
