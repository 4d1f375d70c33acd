"""`lienzo index export` and `lienzo index import`: vectors to and from clip-retrieval's layout of files."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.events import Event, Note, Progress
from lienzo.core.options import Options
from lienzo.core.text import printable
from lienzo.tasks.index import folder_of

if TYPE_CHECKING:
    from lienzo.search.catalogue import Catalogue, CatalogueSource, Entry
    from lienzo.search.exchange import Layout

_BATCH = 1024


class ExportIndex(Options):
    """Write an index's vectors for other programs: clip-retrieval's img_emb/*.npy and metadata/*.parquet."""

    out: Path = Field(json_schema_extra={"positional": True})
    """New folder."""
    index: Path | None = None
    """Folder of the index; default: `index` in your Lienzo folder."""
    clip: str | None = None
    """CLIP whose vectors are wanted; needed where the index holds those of several."""
    part: int = Field(1_000_000, ge=1)
    """Rows of one file."""


class ImportIndex(Options):
    """Take over vectors that clip-retrieval or Lienzo has written, instead of embedding the pictures again."""

    source: Path = Field(json_schema_extra={"positional": True})
    """Folder with img_emb/ and metadata/."""
    pictures: Path
    """Folder that the pictures lie in. Pictures of the list that are not there are passed over."""
    index: Path | None = None
    """Folder of the index; default: `index` in your Lienzo folder. It is made if it is not there."""
    clip: str | None = None
    """CLIP that made the vectors; not needed for what `lienzo index export` wrote."""


def run(options: Options) -> Iterator[Event]:
    """Run whichever of the two was asked for."""
    if isinstance(options, ExportIndex):
        yield from export(options)
    elif isinstance(options, ImportIndex):
        yield from take(options)


def export(options: ExportIndex) -> Iterator[Event]:
    """Write all vectors of one model."""
    from lienzo.search.catalogue import Catalogue
    from lienzo.search.exchange import Batch, LayoutWriter

    with Catalogue.open(folder_of(options.index)) as catalogue:
        source = _source(catalogue, options.clip)
        begun, total = time.monotonic(), source.count()
        with LayoutWriter(options.out, source.dim, options.part, {"tag": source.tag, "dim": source.dim}) as writer:
            for ids, vectors in source.parts():
                items = {item.id: item for item in catalogue.items(ids.tolist())}
                kept = [i for i, number in enumerate(ids.tolist()) if number in items]
                chosen = [items[int(ids[i])] for i in kept]
                writer.add(Batch([str(i.path) for i in chosen], [i.caption for i in chosen], vectors[kept]))
                yield Progress("export", writer.count, total, time.monotonic() - begun, "vector")
    yield Note(f"{writer.count} vectors of {source.dim} numbers are in '{printable(str(options.out), 200)}'.")


def take(options: ImportIndex) -> Iterator[Event]:
    """Record the pictures of a layout that are there, with their vectors."""
    from lienzo.search.catalogue import Catalogue
    from lienzo.search.exchange import open_layout

    layout = open_layout(options.source)
    tag = _tag_of(options.clip, layout.dim) if options.clip is not None else _noted_tag(layout)
    folder = Path(os.path.realpath(options.pictures.expanduser()))
    if not folder.is_dir():
        raise BadInput(f"The folder of pictures '{printable(str(options.pictures), 200)}' does not exist.")
    with Catalogue.open(folder_of(options.index), create=True) as catalogue:
        catalogue.source(tag, layout.dim)  # refuses another length
        root = catalogue.add_root(folder)
        begun, done, missing, broken = time.monotonic(), 0, 0, 0
        for batch in layout.batches(_BATCH):
            looked = [_look(folder, root.id, path, caption) for path, caption in zip(batch.paths, batch.captions)]
            known = [i for i, found in enumerate(looked) if found.entry is not None]
            entries = [found.entry for found in looked if found.entry is not None]
            catalogue.record(tag, layout.dim, entries, [batch.vectors[i] for i in known])
            missing += sum(found.missing for found in looked)
            broken += len(looked) - len(known) - sum(found.missing for found in looked)
            done += len(known)
            yield Progress("import", done + missing + broken, layout.count, time.monotonic() - begun, "picture")
    note = f"{done} of {layout.count} pictures are in the index"
    reasons = [f"{missing} are not in the folder"] if missing else []
    reasons += [f"{broken} cannot be read"] if broken else []
    passed = layout.count - done - missing - broken
    reasons += [f"{passed} have no usable vector"] if passed else []
    yield Note("; ".join([note, *reasons]) + ".", "warning" if reasons else "info")


class _Looked(NamedTuple):
    entry: Entry | None
    missing: bool


def _look(folder: Path, root: int, path: str, caption: str) -> _Looked:
    """What to record of a picture of the list; a path that leads out of the folder is not there."""
    from lienzo.imaging.reading import Limits, read_bytes
    from lienzo.search.catalogue import Entry
    from lienzo.search.decoding import picture_size

    try:
        place = Path(os.path.normpath(folder / path))
        real = Path(os.path.realpath(place))
        inside = place.is_relative_to(folder) and real.is_relative_to(folder) and real.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        inside = False
    if not inside:
        return _Looked(None, True)
    try:
        data, status = read_bytes(place, Limits.file_bytes), place.stat()
    except (OSError, BadPicture):
        return _Looked(None, False)
    width, height = picture_size(data)
    if width < 1 or height < 1:
        return _Looked(None, False)
    name = os.fsencode(place.relative_to(folder).as_posix())
    digest = hashlib.sha256(data).digest()
    return _Looked(Entry(root, name, status.st_size, status.st_mtime_ns, digest, width, height, caption, 0), False)


def _source(catalogue: Catalogue, clip: str | None) -> CatalogueSource:
    """The vectors of a CLIP, or of the only one that the index has vectors of."""
    if clip is None:
        return catalogue.source(_only_tag(catalogue))
    from lienzo.clip.embedder import open_embedder
    from lienzo.search.answers import source_of

    return source_of(catalogue, open_embedder(clip, towers="text"), clip)


def _tag_of(clip: str, dim: int | None = None) -> str:
    from lienzo.clip.embedder import open_embedder

    embedder = open_embedder(clip, towers="text")
    if dim is not None and embedder.dim != dim:
        raise BadInput(f"The vectors have {dim} numbers, but those of '{printable(clip, 100)}' have {embedder.dim}.")
    return embedder.tag


def _only_tag(catalogue: Catalogue) -> str:
    tags = [tag for tag, count in catalogue.tags().items() if count]
    if not tags:
        raise BadInput("The index has no vectors yet; index a folder first.")
    if len(tags) > 1:
        raise BadInput(f"The index has vectors of {len(tags)} models; say which with --clip.")
    return tags[0]


def _noted_tag(layout: Layout) -> str:
    tag = layout.facts.get("tag")
    if not isinstance(tag, str) or not tag or layout.facts.get("dim") != layout.dim:
        raise BadInput("These files do not say which CLIP made them; say it with --clip.")
    return tag
