"""`lienzo data build paintings DIR`: thirty paintings in the public domain, to try training on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from lienzo.core.events import Event, Note
from lienzo.core.options import Options


class BuildPaintings(Options):
    """Write thirty paintings in the public domain, a folder for each artist, with captions beside them."""

    directory: Path = Field(json_schema_extra={"positional": True})
    """Folder to write into."""
    packages: Path | None = None
    """Folder of package files; what is missing there is fetched into it. Default: DIR/../packages."""
    fetch: bool = True
    """Fetch the package with apt-get when it is missing."""


def run(options: BuildPaintings) -> Iterator[Event]:
    """Write them.

    Yields:
        A Note with what was written.

    Raises:
        BadInput: the package cannot be had or is not the pinned one.
    """
    from lienzo.data.packages import PACKAGES, locate
    from lienzo.data.paintings import write_paintings

    packages = options.packages or options.directory.parent / "packages"
    count = write_paintings(locate(PACKAGES["gcompris"], packages, options.fetch), options.directory)
    yield Note(f"{count} paintings with captions are in {options.directory}, a folder for each artist.")
