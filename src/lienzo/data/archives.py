"""Read the files inside npm tarballs and Debian packages in memory: nothing is unpacked to disk or run."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lienzo.core.errors import BadInput

MAX_MEMBER = 256 * 2**20
MAX_MEMBERS = 200_000
_AR_MAGIC = b"!<arch>\n"


def read_package(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The regular files of a package whose path inside is `wanted`, as (path, content).

    Paths come without a leading ``./`` and, for npm, without the top folder ``package/``. Links and devices are
    left out. `path` is a ``.tgz`` or a ``.deb`` whose data part is xz, gzip or not compressed.

    Raises:
        BadInput: the file is not such a package, is broken, or holds more than is plausible.
    """
    try:
        with path.open("rb") as file:
            is_deb = file.read(len(_AR_MAGIC)) == _AR_MAGIC
            file.seek(0)
            stream = _deb_data(file, path) if is_deb else file
            with tarfile.open(fileobj=stream, mode="r:*") as tar:
                yield from _members(tar, path, wanted)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise BadInput(f"The package {path.name} cannot be read ({error}); fetch it again.") from error


def _members(tar: tarfile.TarFile, path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for count, member in enumerate(tar):
        if count > MAX_MEMBERS:
            raise BadInput(f"The package {path.name} holds more than {MAX_MEMBERS} files.")
        name = member.name.removeprefix("./").removeprefix("package/")
        if not member.isreg() or not wanted(name):
            continue
        if member.size > MAX_MEMBER:
            raise BadInput(f"The package {path.name} holds a file of {member.size} bytes, which is too large.")
        content = tar.extractfile(member)
        if content is not None:
            yield name, content.read()


def _deb_data(file: io.BufferedReader, path: Path) -> io.BytesIO:
    """The ``data.tar.*`` member of the ``ar`` archive that a Debian package is."""
    file.seek(len(_AR_MAGIC))
    while len(header := file.read(60)) == 60:
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        try:
            size = int(header[48:58])
        except ValueError:
            break
        if name.startswith("data.tar"):
            return io.BytesIO(file.read(size))
        file.seek(size + size % 2, io.SEEK_CUR)
    raise BadInput(f"The package {path.name} has no data part; fetch it again.")
