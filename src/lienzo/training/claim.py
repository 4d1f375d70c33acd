"""A run's folder belongs to one training at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

LOCK = ".lock"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder and keep other trainings out of it while inside; one that stays empty is removed again.

    The lock is of the system (flock): it ends with the process, however that ends. Where there is none (Windows, some
    network disks) nothing is locked.

    Raises:
        BadInput: the folder cannot be made or written, or another training is at work in it.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except (FileExistsError, NotADirectoryError) as error:
        raise BadInput(f"'{printable(str(folder))}' cannot be the folder of a run: a file has this name.") from error
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"The folder of the run, '{printable(str(folder))}', cannot be written: {reason}.") from error
    try:
        _lock(file, folder)
        yield
    finally:
        if new and [path.name for path in folder.iterdir()] == [LOCK]:
            with suppress(OSError):
                (folder / LOCK).unlink()
                folder.rmdir()
        os.close(file)


def _lock(file: int, folder: Path) -> None:
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # Windows
        return
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError as error:
        raise BadInput(
            f"Another training is at work in '{printable(str(folder))}'; wait for it, or give another --out."
        ) from error
    except OSError:  # a disk without locks
        return
