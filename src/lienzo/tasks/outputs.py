"""What a verb checks about the files it is to write, before the work rather than after it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lienzo.core.errors import BadInput
from lienzo.core.text import printable


def check_output(flag: str, path: Path | None, *, picture: bool = False) -> None:
    """Say now what would fail later.

    Args:
        flag: the option, without its hyphens.
        path: what was given; None is fine.
        picture: whether a picture is written there.

    Raises:
        BadInput: a file cannot be written there, or its name is not that of a picture.
    """
    from lienzo.imaging.writing import FORMATS

    if path is None:
        return
    shown = printable(str(path), 200)
    if picture and path.suffix.lower() not in FORMATS:
        raise BadInput(f"The name for --{flag} ends in {', '.join(FORMATS)}; '{shown}' does not.")
    if path.is_dir() or not path.parent.is_dir():
        reason = "a folder has this name" if path.is_dir() else "its folder does not exist"
        raise BadInput(f"--{flag} '{shown}' cannot be written: {reason}.")


def spare_inputs(flag: str, path: Path | None, inputs: Iterable[Path]) -> None:
    """Refuse to write over a file that is read.

    Raises:
        BadInput: `path` is one of the inputs, by whatever name.
    """
    if path is None or not path.exists():
        return
    target = path.stat()
    same = (target.st_dev, target.st_ino)
    for each in inputs:
        try:
            status = each.stat()
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == same:
            raise BadInput(f"--{flag} '{printable(str(path), 200)}' is one of the pictures; choose another name.")
