"""`lienzo dedupe`: pictures that are there twice. Nothing is ever deleted."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.events import Event, Note, Progress, Table
from lienzo.core.files import replacing
from lienzo.core.options import Options
from lienzo.core.text import printable

if TYPE_CHECKING:
    from lienzo.clip.embedder import Embedder
    from lienzo.search.duplicates import Group

BATCH = 64
SHEET = 240  # pictures on a sheet
By = Literal["file", "look", "clip"]


class Dedupe(Options):
    """Find pictures that are there twice, in folders or in an index. Nothing is ever deleted.

    The first picture of a group is the one to keep: of most pixels, then of most bytes. The others are copies of it:
    the same file, the same look (smaller, recompressed, hardly changed), or nearly the same to a CLIP.
    """

    paths: tuple[str, ...] = Field((), json_schema_extra={"positional": True})
    """Folders or pictures; without any, the index is looked through."""
    by: tuple[By, ...] = ()
    """What counts as a copy: file, look, clip. Default: file and look; in an index, file and clip, which reads no
    file."""
    threshold: float = Field(0.98, gt=0, le=1)
    """The least cosine of a CLIP's vectors."""
    clip: str | None = None
    """The CLIP; default: the bundled one."""
    index: Path | None = None
    """Folder of the index; default: `index` in your Lienzo folder."""
    filter: str = ""
    """Which pictures of the index are compared, as in search."""
    sheet: Path | None = None
    """Picture file (.png) for a sheet with a row for each group."""
    write_list: Path | None = None
    """Text file for the copies without those to keep, a path a line."""


class Candidate(NamedTuple):
    """A picture to compare."""

    path: Path
    sha256: str
    size: int
    """Bytes."""
    width: int
    """Pixels."""
    height: int

    @property
    def rank(self) -> tuple[int, int, int, bytes]:
        """Sorts the one to keep first: most pixels, most bytes, the shorter path."""
        return -self.width * self.height, -self.size, len(os.fspath(self.path)), os.fsencode(self.path)


@dataclass(frozen=True)
class Gathered:
    """Pictures, the one to keep rather first, and what they are compared by (see `duplicates.Traits`)."""

    candidates: list[Candidate]
    thumbs: np.ndarray | None = None
    vectors: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Duplicates:
    """A group: an event of its own, so that JSON has a line for each."""

    group: int
    """From 1."""
    keep: str
    """The picture to keep; bytes that are no text are lone surrogates, as `os.fsencode` takes them back."""
    copies: list[dict[str, str | float]]
    """Each with `path`, `by` (file, look, clip) and `score`, a cosine with the one to keep."""


def run(options: Dedupe) -> Iterator[Event | Duplicates]:
    """Look for copies.

    Yields:
        Progress, Notes about broken files, a Duplicates for each group, largest first, and a Table of all.

    Raises:
        BadInput: there is no such folder, index or CLIP.
    """
    from lienzo.search.duplicates import Traits, duplicate_groups

    check(options)
    by = options.by or (("file", "look") if options.paths else ("file", "clip"))
    gathered = yield from (from_files(options, by) if options.paths else from_index(options, by))
    candidates = gathered.candidates
    # Where the same file does not count, no two pictures are.
    digests = [each.sha256 if "file" in by else str(row) for row, each in enumerate(candidates)]
    groups = yield from duplicate_groups(Traits(digests, gathered.thumbs, gathered.vectors, options.threshold))
    for number, group in enumerate(groups, 1):
        copies: list[dict[str, str | float]] = [
            {"path": str(candidates[copy.row].path), "by": copy.how, "score": copy.score} for copy in group.copies
        ]
        yield Duplicates(number, str(candidates[group.keep].path), copies)
    yield from shown(options, candidates, groups)


def check(options: Dedupe) -> None:
    """Say before the work what would fail after it.

    Raises:
        BadInput: options do not go together, or a file cannot be written.
    """
    from lienzo.tasks.outputs import check_output

    if options.paths and (options.index is not None or options.filter):
        raise BadInput("Give either folders, or --index and --filter.")
    if options.by and "clip" not in options.by and {"clip", "threshold"} & options.model_fields_set:
        raise BadInput("--clip and --threshold are for --by clip; add that.")
    check_output("sheet", options.sheet, picture=True)
    check_output("write-list", options.write_list)


def from_files(options: Dedupe, by: Sequence[By]) -> Generator[Event, None, Gathered]:
    """Pictures of folders; each file is read once."""
    from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
    from lienzo.tasks.answers import pictures_at
    from lienzo.tasks.outputs import spare_inputs

    files = [found.path for found in (yield from pictures_at(options.paths))]
    for flag, path in (("sheet", options.sheet), ("write-list", options.write_list)):
        spare_inputs(flag, path, files)
    embedder = open_embedder(options.clip or DEFAULT_CLIP) if "clip" in by else None
    found = yield from _looked_at(files, "look" in by, embedder)
    looked = sorted(found.values(), key=lambda each: each.candidate.rank)
    return Gathered(
        [each.candidate for each in looked],
        _stacked([each.thumb for each in looked]),
        _stacked([each.vector for each in looked]),
    )


class _Looked(NamedTuple):
    candidate: Candidate
    thumb: np.ndarray | None  # uint8 (64, 64, 3)
    vector: np.ndarray | None  # float32 (D,)


def _looked_at(
    files: Sequence[Path], look: bool, embedder: Embedder | None = None
) -> Generator[Event, None, dict[int, _Looked]]:
    """The files that can be read, by number, with thumbnails where looks count and vectors where a CLIP is given."""
    from lienzo.search.answers import shown_path
    from lienzo.tasks.embedded import told

    found: dict[int, _Looked] = {}
    problems: list[str] = []
    began = time.monotonic()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), BATCH):
            part = range(start, min(start + BATCH, len(files)))
            squares: dict[int, np.ndarray] = {}
            for row, read in zip(part, pool.map(lambda row: _read(files[row], look, embedder), part)):
                if isinstance(read, BadPicture):
                    problems.append(f"{shown_path(files[row])}: {read}")
                    continue
                candidate, thumb, square = read
                found[row] = _Looked(candidate, thumb, None)
                if square is not None:
                    squares[row] = square
            if embedder is not None and squares:
                for row, vector in zip(squares, embedder.pictures(np.stack(list(squares.values())))):
                    found[row] = found[row]._replace(vector=vector)
            yield Progress("read", part.stop, len(files), time.monotonic() - began, "picture")
    yield from told(problems, len(files))
    return found


def _stacked(rows: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Rows as one array; None where there are none, or some lack theirs."""
    there = [row for row in rows if row is not None]
    return np.stack(there) if there and len(there) == len(rows) else None


def _read(
    path: Path, look: bool, embedder: Embedder | None
) -> tuple[Candidate, np.ndarray | None, np.ndarray | None] | BadPicture:
    """One file, read once: its digest and size, its thumbnail, and the square that the CLIP reads."""
    from PIL import Image

    from lienzo.imaging.reading import Limits, open_picture, read_bytes
    from lienzo.search.duplicates import THUMB

    try:
        data = read_bytes(path, Limits.file_bytes)
        picture = open_picture(data)
    except BadPicture as error:
        return error
    candidate = Candidate(path, hashlib.sha256(data).hexdigest(), len(data), *picture.size)
    thumb = None
    if look:
        method = Image.Resampling.BOX if min(picture.size) >= THUMB else Image.Resampling.BICUBIC
        thumb = np.asarray(picture.resize((THUMB, THUMB), method))
    return candidate, thumb, embedder.prepare(picture) if embedder is not None else None


def from_index(options: Dedupe, by: Sequence[By]) -> Generator[Event, None, Gathered]:
    """Pictures of an index whose files are there; files are read for their looks only."""
    from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
    from lienzo.search.answers import source_of
    from lienzo.search.catalogue import Catalogue
    from lienzo.search.filters import parse_filter
    from lienzo.tasks.index import folder_of

    condition = parse_filter(options.filter)
    with Catalogue.open(folder_of(options.index)) as catalogue:
        items = catalogue.items(catalogue.ids(condition).tolist())
        there = [item for item in items if item.path.is_file()]
        if len(there) < len(items):
            yield Note(f"{len(items) - len(there)} files are no longer there and were left out.", "warning")
        vectors: dict[int, np.ndarray] = {}
        if "clip" in by and there:
            clip = options.clip or DEFAULT_CLIP
            source = source_of(catalogue, open_embedder(clip, towers="text"), clip)
            wanted = {item.id for item in there}
            for ids, part in source.parts():
                vectors.update((number, row) for number, row in zip(ids.tolist(), part) if number in wanted)
            if len(vectors) < len(there):
                missing = len(there) - len(vectors)
                yield Note(f"{missing} pictures have no vector of '{printable(clip, 100)}' yet.", "warning")
    rows = [(Candidate(i.path, i.sha256, i.size, i.width, i.height), vectors.get(i.id)) for i in there]
    rows.sort(key=lambda row: row[0].rank)
    thumbs = None
    if "look" in by:
        found = yield from _looked_at([candidate.path for candidate, _ in rows], look=True)
        rows, thumbs = [rows[row] for row in found], _stacked([each.thumb for each in found.values()])
    # A picture without a vector gets zeros, which are like nothing.
    empty = np.zeros(len(next(iter(vectors.values()))) if vectors else 0, np.float32)
    stacked = np.stack([empty if vector is None else vector for _, vector in rows]) if vectors and rows else None
    return Gathered([candidate for candidate, _ in rows], thumbs, stacked)


def shown(options: Dedupe, candidates: Sequence[Candidate], groups: Sequence[Group]) -> Iterator[Event]:
    """The table, the sheet and the list."""
    if groups:
        yield table(candidates, groups)
    copies = [candidates[copy.row] for group in groups for copy in group.copies]
    freed = sum(copy.size for copy in copies) / 1e6
    are = "1 is a copy" if len(copies) == 1 else f"{len(copies)} are copies"
    told = f"{are}, {len(groups)} group{'s'[: len(groups) > 1]}, {freed:.1f} MB" if groups else "none is a copy"
    yield Note(f"Of {len(candidates)} pictures, {told}.")
    if options.sheet is not None and groups:
        yield from write_sheet(options.sheet, candidates, groups)
    if options.write_list is not None:
        yield from write_list(options.write_list, [copy.path for copy in copies])


def table(candidates: Sequence[Candidate], groups: Sequence[Group]) -> Table:
    """Groups as rows: the one to keep first."""
    from lienzo.search.answers import shown_path

    def row(number: str, mark: str, score: str, each: Candidate) -> tuple[str, ...]:
        return number, mark, score, f"{each.width}x{each.height}", shown_path(each.path)

    rows = []
    for number, group in enumerate(groups, 1):
        rows.append(row(str(number), "keep", "", candidates[group.keep]))
        rows += [row("", copy.how, f"{copy.score:.3f}", candidates[copy.row]) for copy in group.copies]
    return Table("Copies", ("group", "by", "score", "size", "picture"), tuple(rows))


def write_sheet(path: Path, candidates: Sequence[Candidate], groups: Sequence[Group]) -> Iterator[Event]:
    """A section a group, the one to keep first."""
    from lienzo.imaging.result_sheet import Section, Tile, load_thumbnail, result_sheet
    from lienzo.imaging.writing import save_picture
    from lienzo.search.answers import shown_path

    def tile(row: int, line: str) -> Tile:
        each = candidates[row]
        return Tile(load_thumbnail(each.path), f"{line}  {each.width}x{each.height}", shown_path(each.path.name))

    words = {"file": "same file", "look": "same look", "clip": "alike"}
    sections: list[Section] = []
    left = SHEET
    for number, group in enumerate(groups, 1):
        copies = group.copies[: left - 1]
        if not copies:
            break
        tiles = [tile(group.keep, "keep")]
        tiles += [tile(c.row, words[c.how] + ("" if c.how == "file" else f" {c.score:.3f}")) for c in copies]
        sections.append(Section(f"Group {number}", tiles))
        left -= len(tiles)
    save_picture(result_sheet(sections, columns=min(max(len(s.tiles) for s in sections), 6)), path, exist_ok=True)
    more = f"; it shows the first {len(sections)} of {len(groups)} groups" if len(sections) < len(groups) else ""
    yield Note(f"The sheet is {printable(str(path))}{more}.")


def write_list(path: Path, copies: Sequence[Path]) -> Iterator[Event]:
    """One path a line, in the bytes of the file system; a name with a line break cannot stand there and is told."""
    plain = [os.fsencode(copy) for copy in copies]
    lines = [name for name in plain if b"\n" not in name and b"\r" not in name]
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(line + b"\n" for line in lines))
    yield Note(f"The list of {len(lines)} copies is {printable(str(path))}; nothing was deleted.")
    if len(lines) < len(plain):
        yield Note(f"{len(plain) - len(lines)} names with line breaks are not on the list.", "warning")
