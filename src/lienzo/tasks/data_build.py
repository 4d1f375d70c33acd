"""`lienzo data build art DIR`: make the corpus of captioned drawings from public packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from lienzo.core.events import Event
from lienzo.core.options import Options


class BuildArt(Options):
    """Build the corpus of captioned drawings from public packages; give the same command again to go on."""

    directory: Path = Field(json_schema_extra={"positional": True})
    """Folder to write the corpus into."""
    sources: tuple[str, ...] = ()
    """Sources to take, such as noto or tuxpaint; default: all. What cannot be had is left out with a warning."""
    packages: Path | None = None
    """Folder of package files; what is missing there is fetched into it. Default: DIR/packages."""
    fetch: bool = True
    """Fetch missing packages with npm and apt-get."""
    workers: int = Field(2, ge=1, le=64)
    """Processes that draw."""


def run(options: BuildArt) -> Iterator[Event]:
    """Build the corpus.

    Yields:
        Progress by source, a Note for what was left out, and at the end a Table of what was built.

    Raises:
        BadInput: an unknown source, resvg missing, a package that is not the pinned one, or none to be had.
    """
    from lienzo.data.art import build_art
    from lienzo.data.art_sources import SOURCES

    packages = options.packages or options.directory / "packages"
    yield from build_art(options.directory, options.sources or tuple(SOURCES), packages, options.fetch, options.workers)
