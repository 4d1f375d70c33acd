"""Files that verbs write: what is checked about them before the work, and the sheet of results that several write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from lienzo.core.errors import BadInput
from lienzo.core.events import Note
from lienzo.core.text import printable

SHEET = 200  # pictures on a sheet


class Placed(Protocol):
    """A picture of a result: its place from 1, its score, its file."""

    @property
    def rank(self) -> int: ...

    @property
    def score(self) -> float: ...

    @property
    def path(self) -> str: ...


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


def write_results(path: Path, title: str, results: Sequence[Placed]) -> Iterator[Note]:
    """A sheet of thumbnails of the first results, with rank, score and name, and a Note with its file."""
    from lienzo.imaging.result_sheet import Section, Tile, load_thumbnail, result_sheet
    from lienzo.imaging.writing import save_picture
    from lienzo.search.answers import shown_path

    tiles = [
        Tile(load_thumbnail(each.path), f"{each.rank}.  {each.score:.3f}", shown_path(Path(each.path).name))
        for each in results[:SHEET]
    ]
    save_picture(result_sheet([Section(title, tiles)]), path, exist_ok=True)
    more = f"; it shows the first {SHEET} of {len(results)}" if len(results) > SHEET else ""
    yield Note(f"The sheet is {printable(str(path))}{more}.")
