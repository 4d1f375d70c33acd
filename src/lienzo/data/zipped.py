"""A .zip of a folder, read in place: nothing is unpacked, and what an archive may cost is known before it is read."""

from __future__ import annotations

import lzma
import stat
import struct
import threading
import zipfile
import zlib
from pathlib import Path

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.text import printable
from lienzo.data.listing import count_of
from lienzo.data.trees import FileTree, Stamp

MAX_ENTRIES = 2_000_000
MAX_DIRECTORY = 512 * 2**20
MAX_RATIO = 100
"""Unpacked bytes a packed one, over the whole archive, beyond a first GiB; pictures hardly shrink at all."""
_FREE = 2**30
_END = b"PK\5\6"
_END_64 = b"PK\6\6"


def zip_tree(path: Path) -> FileTree:
    """The files in a zip archive. Hidden ones, links and paths that would leave the folder are passed over.

    Raises:
        BadInput: not a zip archive, broken, or it would unpack to more than is plausible.
    """
    title = f"'{printable(str(path), 200)}'"
    try:
        _check_directory(path, title)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
        raise BadInput(f"The archive {title} cannot be read ({printable(str(error), 200)}).") from error
    files: dict[str, Stamp] = {}
    members: dict[str, zipfile.ZipInfo] = {}
    twice, total = [], 0
    for info in archive.infolist():
        total += info.file_size
        name = _inner(info)
        if name is None:
            continue
        if name in members:
            twice.append(name)
            continue
        members[name] = info
        files[name] = (info.file_size, info.CRC)
    if total > _FREE + MAX_RATIO * path.stat().st_size:
        raise BadInput(f"The archive {title} would unpack to {total / 2**30:.3g} GiB, which is not plausible.")
    problems = (f"{count_of(twice, 'file', 'is', 'are')} twice in {title}; the first is used.",) if twice else ()
    lock = threading.Lock()

    def read(name: str, limit: int) -> bytes:
        return _member(archive, members[name], limit, lock)

    return FileTree(title, dict(sorted(files.items())), read, problems)


def _inner(info: zipfile.ZipInfo) -> str | None:
    """The path of a member that may be used, with ``/``."""
    name = info.filename.replace("\\", "/").removeprefix("./")
    parts = name.split("/")
    outside = name.startswith("/") or ":" in parts[0] or any(part in ("", "..") for part in parts)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    kind = stat.S_IFMT(info.external_attr >> 16)
    return None if outside or hidden or kind not in (0, stat.S_IFREG) else name


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int, lock: threading.Lock) -> bytes:
    """The content of a member, never longer than it was announced and than `limit`."""
    if info.file_size > limit:
        raise BadPicture(f"The picture is larger than {limit / 2**20:.3g} MiB.")
    try:
        with lock, archive.open(info) as file:
            return file.read(info.file_size + 1)  # with a bound it never unpacks more, whatever is packed
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError) as error:
        raise BadPicture(f"The picture cannot be unpacked ({printable(str(error), 100)}).") from error


def _check_directory(path: Path, title: str) -> None:
    """Refuse a table of contents that alone would fill the memory, before zipfile reads it."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        start = file.seek(max(0, length - 65_557 - 76))
        tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) < place + 22:
        raise BadInput(f"{title} is not a zip archive or is cut off.")
    entries, size = struct.unpack_from("<HL", tail, place + 10)
    large = tail.rfind(_END_64, 0, place)
    if large >= 0 and len(tail) >= large + 48 and start + large < length:
        entries, size = struct.unpack_from("<QQ", tail, large + 32)
    if entries > MAX_ENTRIES or size > MAX_DIRECTORY:
        raise BadInput(f"The archive {title} lists {entries} files; at most {MAX_ENTRIES} are read.")
