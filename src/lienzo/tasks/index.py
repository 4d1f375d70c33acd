"""`lienzo index`: make folders of pictures searchable, offline, and look after the index."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lienzo.core.events import Event, Note, Table
from lienzo.core.options import Options
from lienzo.core.text import printable

if TYPE_CHECKING:
    from lienzo.search.seams import Embedder


class Index(Options):
    """Make folders of pictures searchable: every picture is read once and gets a vector of a CLIP.

    Give the same command again to bring the index up to date; only what is new or changed is read. Without folders,
    all that were indexed before are brought up to date. Files are never changed. A folder called status or remove is
    given as ./status.
    """

    folders: tuple[Path, ...] = Field((), json_schema_extra={"positional": True})
    """Folders of pictures, with everything in them."""
    index: Path | None = None
    """Folder of the index; default: `index` in your Lienzo folder."""
    clip: str | None = None
    """CLIP that reads the pictures; default: the bundled one. An index may hold vectors of several."""
    exclude: tuple[str, ...] | None = None
    """Names or paths to pass over, such as `*.gif` or `private`, remembered for these folders; "" forgets them."""
    hidden: bool | None = None
    """Take files and folders whose name begins with a dot, remembered for these folders."""
    captions: bool = True
    """Read NAME.txt beside NAME.png as its caption, to filter by."""
    batch: int = Field(64, ge=1, le=4096)
    """Pictures embedded and written at once."""
    workers: int | None = Field(None, ge=1, le=256)
    """Threads that decode; default: as many as there are processors."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the CLIP computes."""


class IndexStatus(Options):
    """Say what an index holds: folders, models, and files that cannot be read."""

    index: Path | None = None
    """Folder of the index; default: `index` in your Lienzo folder."""


class RemoveFolder(Options):
    """Forget an indexed folder and its pictures. The files themselves are not touched."""

    folder: Path = Field(json_schema_extra={"positional": True})
    """The folder, as `lienzo index status` names it."""
    index: Path | None = None
    """Folder of the index; default: `index` in your Lienzo folder."""


def run(options: Options) -> Iterator[Event]:
    """Run whichever of the three was asked for."""
    if isinstance(options, IndexStatus):
        yield from status(options)
    elif isinstance(options, RemoveFolder):
        yield from remove(options)
    elif isinstance(options, Index):
        yield from index(options)


def folder_of(given: Path | None) -> Path:
    """The folder of an index: the given one, or the user's own."""
    from lienzo.weights.places import home

    return given if given is not None else home() / "index"


def index(options: Index) -> Iterator[Event]:
    """Index folders (see `index_folders`), then make the next search quick."""
    from lienzo.search.catalogue import Catalogue
    from lienzo.search.catalogue_file import FILE
    from lienzo.search.indexing import checked, index_folders
    from lienzo.search.stores import open_follower

    # Pillow's remarks about what is odd in a file; what cannot be read is told of anyway.
    warnings.filterwarnings("ignore", category=Warning, module="PIL")
    place = folder_of(options.index)
    if not (place / FILE).is_file():
        checked(options.folders)  # before anything is made or loaded
    with Catalogue.open(place, create=bool(options.folders)) as catalogue:
        checked(options.folders, [root.path for root in catalogue.roots()])
        embedder = _open(options)
        yield from index_folders(
            catalogue,
            embedder,
            options.folders,
            exclude=None if options.exclude is None else tuple(filter(None, options.exclude)),
            hidden=options.hidden,
            captions=options.captions,
            batch=options.batch,
            workers=options.workers,
        )
        if catalogue.tags().get(embedder.tag):
            open_follower("auto", catalogue.source(embedder.tag), catalogue.cache(embedder.tag)).prepare()


def _open(options: Index) -> Embedder:
    from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
    from lienzo.tasks.devices import pick_device

    return open_embedder(options.clip or DEFAULT_CLIP, pick_device(options.device), towers="image")


def status(options: IndexStatus) -> Iterator[Event]:
    """Tables of folders, models and broken files."""
    from lienzo.search.catalogue import Catalogue

    with Catalogue.open(folder_of(options.index)) as catalogue:
        rows = tuple(
            (
                printable(str(root.path)),
                str(root.items),
                "yes" if root.path.is_dir() else "no",
                printable(" ".join(root.exclude)),
                "yes" if root.hidden else "no",
            )
            for root in catalogue.roots()
        )
        yield Table("Folders", ("folder", "pictures", "there", "excluded", "hidden files"), rows)
        count, names = catalogue.count(), bundled_tags()
        models = tuple(
            (names.get(tag, printable(tag)), str(number), str(count - number))
            for tag, number in sorted(catalogue.tags().items())
        )
        yield Table("CLIPs", ("CLIP", "vectors", "missing"), models)
        broken = tuple((printable(str(file.path)), printable(file.reason)) for file in catalogue.broken())
        if broken:
            yield Table("Cannot be read", ("file", "why"), broken)


def bundled_tags() -> dict[str, str]:
    """The names of the bundled CLIPs by their tags."""
    from lienzo.clip.embedder import open_embedder

    opened = {name: open_embedder(name, towers="text") for name in ("judge", "guide")}
    return {tag: name for name, embedder in opened.items() for tag in (embedder.tag, *embedder.former)}


def remove(options: RemoveFolder) -> Iterator[Event]:
    """Forget a folder."""
    from lienzo.search.catalogue import Catalogue

    folder = Path(os.path.realpath(options.folder.expanduser()))
    with Catalogue.open(folder_of(options.index)) as catalogue:
        count = catalogue.remove_root(folder)
    what = f"'{printable(str(folder), 200)}' and all that the index had of it ({count} pictures)"
    yield Note(f"{what} are forgotten; the files are untouched.")
