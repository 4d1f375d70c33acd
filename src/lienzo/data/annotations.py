"""Text files of annotations: a picture's name and then its numbers, a picture a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

MAX_BYTES = 2**30


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text that are not empty.

    Raises:
        BadInput: it cannot be read.
    """
    name = printable(path.name, 100)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"'{name}' is larger than {MAX_BYTES >> 30} GiB.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"'{name}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"'{name}' is not UTF-8 text.") from error
    return [line for line in text.splitlines() if line.strip()]


def numbers_by_name(path: Path, count: int, dtype: type = np.int64, skip: int = 0) -> dict[str, np.ndarray]:
    """The `count` numbers after each picture's name; empty where there is no such file.

    Args:
        path: the file.
        count: numbers a line.
        dtype: their type.
        skip: lines of heading.

    Raises:
        BadInput: a line has another form.
    """
    if not path.is_file():
        return {}
    found: dict[str, np.ndarray] = {}
    for number, line in enumerate(text_lines(path)[skip:], skip + 1):
        name, *values = line.split()
        try:
            found[name] = np.array([float(value) for value in values], np.float64).astype(dtype)
        except ValueError:
            values = []
        if len(values) != count:
            raise BadInput(f"Line {number} of '{printable(path.name, 100)}' needs a name and {count} numbers.")
    return found


def first_that_exists(folder: Path, *choices: str) -> Path | None:
    """The first of some paths below a folder that exists."""
    return next((folder / choice for choice in choices if (folder / choice).exists()), None)
