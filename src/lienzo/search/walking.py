"""Walking through a folder that may hold anything: which files in it may be pictures."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lienzo.data.trees import PICTURE_SUFFIXES

SUFFIXES = frozenset((*PICTURE_SUFFIXES, ".jfif", ".jpe", ".apng", ".heic", ".heif"))
"""Files called so are taken for pictures; HEIC too, so that a person learns that it cannot be read."""
_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_NOTE = ".txt"


class Found(NamedTuple):
    """A file that may be a picture."""

    path: bytes
    """Relative to the root, as the file system's bytes, ``/`` between folders."""
    size: int
    mtime_ns: int
    note: int
    """Stamp of the text file beside it, 0 where there is none."""


@dataclass
class Walk:
    """One pass through a root. Iterating yields each `Found` once; afterwards the other fields tell of the pass.

    Links are followed, real folders first, but no folder is read twice, none that the root lies in, and none that is
    another root. Pipes, sockets and devices are no files. A file counts by its name or, whatever its name, by its
    first bytes.

    Attributes:
        root: absolute, without links.
        exclude: patterns; a file or folder whose name or relative path fits one is passed over.
        hidden: whether names that begin with a dot are taken.
        others: other roots; they are not entered.
        unreadable: relative folders that could not be read, with the reason.
        repeated: relative folders that were passed over because another path leads to them.
        entries: names seen, of whatever kind.
    """

    root: Path
    exclude: Sequence[str] = ()
    hidden: bool = False
    others: Sequence[Path] = ()
    unreadable: dict[bytes, str] = field(default_factory=dict)
    repeated: list[bytes] = field(default_factory=list)
    entries: int = 0

    def __iter__(self) -> Iterator[Found]:
        above = {_identity(str(folder)) for folder in self.root.parents}
        seen = above | {_identity(str(other)) for other in self.others}
        seen.discard(None)
        waiting: list[tuple[str, str]] = [(str(self.root), "")]
        linked: list[tuple[str, str]] = []  # after the real folders, so that those keep their own paths
        while waiting or linked:
            path, inner = waiting.pop() if waiting else linked.pop(0)
            identity = _identity(path)
            if identity in seen and identity is not None:
                self.repeated.append(os.fsencode(inner))
                continue
            seen.add(identity)
            try:
                with os.scandir(path) as scan:
                    found = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                self.unreadable[os.fsencode(inner)] = error.strerror or str(error)
                continue
            self.entries += len(found)
            folders, files = self._sorted_out(found, inner)
            yield from self._files(files, inner)
            waiting.extend((e.path, f"{inner}{e.name}/") for e in reversed(folders) if not e.is_symlink())
            linked.extend((e.path, f"{inner}{e.name}/") for e in folders if e.is_symlink())

    def passes_over(self, path: bytes) -> bool:
        """Whether this walk's rules leave out a relative path that is there."""
        if any(path.startswith(folder) for folder in self.repeated):
            return True
        parts = os.fsdecode(path).split("/")
        return any(self._left_out(name, "/".join(parts[: n + 1])) for n, name in enumerate(parts))

    def is_unsure(self, path: bytes) -> bool:
        """Whether a relative path lies in a folder that could not be read, so that nothing is known about it."""
        return any(path.startswith(folder) for folder in self.unreadable)

    def _left_out(self, name: str, path: str) -> bool:
        if name.startswith(".") and not self.hidden:
            return True
        return any(fnmatch.fnmatch(name, p) or fnmatch.fnmatch(path, p) for p in self.exclude)

    def _sorted_out(
        self, found: Sequence[os.DirEntry[str]], inner: str
    ) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
        folders, files = [], []
        for entry in found:
            if self._left_out(entry.name, inner + entry.name):
                continue
            try:
                if entry.is_dir():
                    folders.append(entry)
                elif entry.is_file():
                    files.append(entry)
            except OSError:  # a link that leads round in a circle
                continue
        return folders, files

    def _files(self, files: Sequence[os.DirEntry[str]], inner: str) -> Iterator[Found]:
        notes = {entry.name[: -len(_NOTE)]: entry for entry in files if entry.name.lower().endswith(_NOTE)}
        for entry in files:
            try:
                status = entry.stat()
                if not _may_be_picture(entry):
                    continue
                note = notes.get(os.path.splitext(entry.name)[0])
                stamp = _stamp(note.stat()) if note is not None and note is not entry else 0
            except OSError:  # it vanished
                continue
            yield Found(os.fsencode(inner + entry.name), status.st_size, status.st_mtime_ns, stamp)


def note_of(path: str) -> str:
    """Where the caption of a picture may be: ``a.png`` has it in ``a.txt``."""
    return os.path.splitext(path)[0] + _NOTE


def _stamp(status: os.stat_result) -> int:
    """A number that changes with a text file, never 0."""
    return (status.st_mtime_ns * 31 + status.st_size) % (2**62) + 1


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a folder from every other, however it is reached; None where the system does not say."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _may_be_picture(entry: os.DirEntry[str]) -> bool:
    if os.path.splitext(entry.name)[1].lower() in SUFFIXES:
        return True
    try:
        descriptor = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return False
    try:
        start = os.read(descriptor, 16)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    riff = start.startswith(b"RIFF") and start[8:12] == b"WEBP"
    avif = start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis")
    return riff or avif or start.startswith(_BEGINNINGS)
