"""Files are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lienzo.core.errors import BadInput
from lienzo.core.text import printable


@contextmanager
def replacing(path: str | Path, *, exist_ok: bool = True) -> Iterator[Path]:
    """Give a temporary file beside `path`; at a clean end it takes that name in one step.

    The content is on the disk before the name changes, so a crash at any moment leaves the old file or the new
    one, never a part. If the block raises, the temporary file is removed and the old file stays.

    Args:
        path: The file to write. Its folder must exist.
        exist_ok: Whether an existing file may be replaced. If not, even one that appears meanwhile stays.

    Raises:
        BadInput: the file exists and may not be replaced, or the disk refuses (full, read-only, no permission).
    """
    path = Path(path)
    _check_target(path, exist_ok)
    temporary = path.parent / f".{secrets.token_hex(8)}{path.suffix[:16]}"
    try:
        # Created here, exclusively and with the user's umask, so that nobody can put a link in its place.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _sync(temporary)
        _rename(temporary, path, exist_ok)
        _sync(path.parent)
    except OSError as error:
        raise BadInput(f"'{printable(path.name)}' cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_target(path: Path, exist_ok: bool) -> None:
    name = printable(path.name)
    if not path.parent.is_dir():
        raise BadInput(f"'{name}' cannot be written: its folder does not exist.")
    if path.is_symlink() or path.exists():
        if not exist_ok:
            raise BadInput(f"'{name}' exists already; choose another name.")
        if path.exists() and not path.is_file():
            raise BadInput(f"'{name}' cannot be written: something that is not a plain file has this name.")


def _rename(temporary: Path, path: Path, exist_ok: bool) -> None:
    if exist_ok:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, a link refuses an existing name
    except FileExistsError as error:
        raise BadInput(f"'{printable(path.name)}' exists already; choose another name.") from error
    except (OSError, NotImplementedError):  # file systems without hard links
        _check_target(path, exist_ok)
        os.replace(temporary, path)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk; folders cannot be opened on Windows and need not be."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
