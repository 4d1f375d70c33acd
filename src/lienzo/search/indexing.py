"""Bringing a catalogue up to date with the folders it is about, reading only what changed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.events import Event, Note, Progress
from lienzo.core.text import printable
from lienzo.data.cache import usable_processors
from lienzo.search.catalogue import Catalogue, Entry, Refused, Root
from lienzo.search.decoding import Read, ahead, read_caption, read_picture
from lienzo.search.seams import Embedder
from lienzo.search.walking import Found, Walk

BATCH = 64
_LOOK = 512  # files compared with the catalogue at once
_SHOWN = 5  # broken files that are named in notes; all are in the catalogue
_SECONDS = 0.5  # between two Progress events while looking


class Job(NamedTuple):
    """A file to read."""

    root: Root
    found: Found
    caption: bool
    """Whether captions are wanted."""

    @property
    def noted(self) -> bool:
        """Whether there is a caption to read."""
        return self.caption and self.found.note != 0

    @property
    def path(self) -> str:
        """Absolute."""
        return os.path.join(self.root.path, os.fsdecode(self.found.path))


@dataclass
class Tally:
    """What a run did."""

    unchanged: int = 0
    embedded: int = 0
    kept: int = 0
    """Read, but their content had a vector already: moved, copied or touched."""
    dropped: int = 0
    refused: int = 0
    named: int = 0
    absent: int = 0


@dataclass
class _Pass:
    """A root on its way through a run."""

    root: Root
    walk: Walk
    highest: int
    """No picture with a larger id was there when the walk began."""
    seen: np.ndarray = field(repr=False)  # bool (highest + 1,), by id
    mended: set[bytes] = field(default_factory=set)
    """Files that could not be read once and have not been met again."""
    jobs: list[Job] = field(default_factory=list)
    notes: list[tuple[int, Found]] = field(default_factory=list)
    """Pictures of which only the caption changed."""


def index_folders(
    catalogue: Catalogue,
    embedder: Embedder,
    roots: Sequence[Path] = (),
    *,
    exclude: Sequence[str] | None = None,
    hidden: bool | None = None,
    captions: bool = True,
    batch: int = BATCH,
    workers: int | None = None,
) -> Iterator[Event]:
    """Index folders with everything in them, or bring those that are indexed up to date.

    A file of the same size and time is not read again. One whose content is known keeps or shares its vector; so a
    file that was moved or renamed stays the same picture. Files that are gone are dropped, at the end; those below a
    folder that cannot be read are kept, and so is everything of a root that is not there or is quite empty, as a disk
    that is not mounted is. Each batch is on the disk before the `Progress` that counts it is given; closing the
    iterator, or killing the process, loses at most the batch under way.

    Args:
        catalogue: where everything is recorded.
        embedder: gives the vectors. Pictures that have one of another model only are embedded again.
        roots: folders; with none, all that the catalogue knows. Roots inside them come along.
        exclude: patterns of names or relative paths to pass over, remembered for these roots; None leaves theirs.
        hidden: whether to take names that begin with a dot, remembered likewise.
        captions: whether to read the text file beside each picture.
        batch: pictures that are embedded and recorded at once.
        workers: threads that decode; default: as many as processors that this process may use.

    Yields:
        Progress ("look" while listing files, "index" while embedding), Notes about what is wrong, a Note at the end.

    Raises:
        BadInput: a folder does not exist, there is none, or the catalogue cannot be written.
    """
    former = catalogue.tag_of(embedder)
    catalogue.source(former, embedder.dim)
    if former != embedder.tag:
        catalogue.rename(former, embedder.tag)
    begun, tally = time.monotonic(), Tally()
    chosen = _wanted(catalogue, roots, exclude, hidden)
    passes = yield from _look_through(catalogue, embedder.tag, chosen, captions, tally)
    for each in passes:
        for number, found in each.notes:
            catalogue.note(number, read_caption(os.path.join(each.root.path, os.fsdecode(found.path))), found.note)
    jobs = [job for each in passes for job in each.jobs]
    yield from _read_and_record(catalogue, embedder, jobs, batch, workers or usable_processors(), tally)
    for each in passes:
        tally.dropped += _drop(catalogue, each)
    yield Note(_summary(catalogue, tally, time.monotonic() - begun))


def _look_through(
    catalogue: Catalogue, tag: str, roots: Sequence[Root], captions: bool, tally: Tally
) -> Generator[Event, None, list[_Pass]]:
    """Walk through the roots; returns those that are there."""
    passes: list[_Pass] = []
    for root in roots:
        if not root.path.is_dir():
            tally.absent += root.items
            yield Note(
                f"{_shown(root.path)} is not there; what the index has of it ({_pictures(root.items)}) stays.",
                "warning",
            )
            continue
        each = _begin(catalogue, root)
        yield from _look(catalogue, tag, each, captions, tally)
        if root.items and not each.walk.entries:
            tally.absent += root.items
            yield Note(
                f"{_shown(root.path)} is empty, as a disk is that is not mounted; what the index has of it "
                f"({_pictures(root.items)}) stays. To forget it: lienzo index remove FOLDER",
                "warning",
            )
            continue
        for folder, why in each.walk.unreadable.items():
            inner = root.path / os.fsdecode(folder)
            yield Note(f"The folder {_shown(inner)} cannot be read: {why}. What it had is kept.", "warning")
        passes.append(each)
    return passes


def checked(folders: Sequence[Path], known: Collection[Path] = ()) -> list[Path]:
    """The folders as absolute paths without links.

    Raises:
        BadInput: one is no folder, or is not there and not known.
    """
    paths = [Path(os.path.realpath(Path(folder).expanduser())) for folder in folders]
    for path in paths:
        if path.exists() and not path.is_dir():
            raise BadInput(f"{_shown(path)} is no folder; give the folder that it is in.")
        if not path.exists() and path not in known:
            raise BadInput(f"The folder {_shown(path)} does not exist.")
    return paths


def _wanted(
    catalogue: Catalogue, folders: Sequence[Path], exclude: Sequence[str] | None, hidden: bool | None
) -> list[Root]:
    """The roots of a run, noted in the catalogue, by path."""
    known = [root.path for root in catalogue.roots()]
    if not folders and not known:
        raise BadInput("There is nothing to index yet; give a folder: lienzo index FOLDER")
    chosen = checked(folders, known) or known
    for path in chosen:
        catalogue.add_root(path, exclude, hidden)
    return [root for root in catalogue.roots() if any(root.path.is_relative_to(path) for path in chosen)]


def _begin(catalogue: Catalogue, root: Root) -> _Pass:
    others = [other.path for other in catalogue.roots() if other.id != root.id]
    highest = catalogue.last_id()
    return _Pass(
        root=root,
        walk=Walk(root.path, root.exclude, root.hidden, others),
        highest=highest,
        seen=np.zeros(highest + 1, np.bool_),
        mended=set(catalogue.known_broken(root.id)),
    )


def _look(catalogue: Catalogue, tag: str, each: _Pass, captions: bool, tally: Tally) -> Iterator[Progress]:
    """Walk through a root and set aside what must be read."""
    begun = told = time.monotonic()
    looked = 0
    broken = catalogue.known_broken(each.root.id)
    for found in _grouped(each.walk):
        known = catalogue.known(each.root.id, tag, [file.path for file in found])
        for file in found:
            each.mended.discard(file.path)
            there = known.get(file.path)
            if there is not None and there.id <= each.highest:
                each.seen[there.id] = True
            if there is None and broken.get(file.path) == (file.size, file.mtime_ns):
                tally.refused += 1
            elif there is None or not there.embedded or there[1:3] != file[1:3]:
                each.jobs.append(Job(each.root, file, captions))
            else:
                tally.unchanged += 1
                if captions and there.note != file.note:
                    each.notes.append((there.id, file))
        looked += len(found)
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            yield Progress("look", looked, looked, told - begun, "file")
    yield Progress("look", looked, looked, time.monotonic() - begun, "file")


def _grouped(walk: Iterable[Found]) -> Iterator[list[Found]]:
    group: list[Found] = []
    for found in walk:
        group.append(found)
        if len(group) == _LOOK:
            yield group
            group = []
    if group:
        yield group


def _read_and_record(
    catalogue: Catalogue, embedder: Embedder, jobs: Sequence[Job], batch: int, workers: int, tally: Tally
) -> Iterator[Event]:
    """Read files in threads while the batch before is embedded; record batch by batch."""
    begun, done, group = time.monotonic(), 0, []

    def content(sha256: bytes) -> tuple[int, int] | None:
        return catalogue.content(sha256, embedder.tag)

    def work(job: Job) -> tuple[Read, str]:
        return read_picture(job.path, embedder, content), read_caption(job.path) if job.noted else ""

    with closing(ahead(work, jobs, workers, window=batch + 2 * workers)) as results:
        for number, pair in enumerate(results, 1):
            group.append(pair)
            if len(group) < batch and number < len(jobs):
                continue
            yield from _record(catalogue, embedder, group, tally)
            done, group = number, []
            yield Progress("index", done, len(jobs), time.monotonic() - begun, "picture")


def _record(
    catalogue: Catalogue, embedder: Embedder, group: Sequence[tuple[Job, tuple[Read, str] | BadPicture]], tally: Tally
) -> Iterator[Note]:
    """Embed a group of files and put it on the disk."""
    group = [(job, _anew(catalogue, embedder, job, result)) for job, result in group]
    failed = [_refused(job, result) for job, result in group if isinstance(result, BadPicture)]
    refused = [file for file in failed if file is not None]
    read = [(job, *result) for job, result in group if not isinstance(result, BadPicture)]
    vectors = _vectors(catalogue, embedder, [picture for _, picture, _ in read])
    for (job, _, _), vector in zip(read, vectors):
        if vector is not None and not np.isfinite(vector).all():
            refused.append(_entry_refused(job, "The model gives no vector for this picture."))
    good = [n for n, vector in enumerate(vectors) if vector is None or np.isfinite(vector).all()]
    entries = [_entry(*read[n]) for n in good]
    catalogue.record(embedder.tag, embedder.dim, entries, [vectors[n] for n in good], refused)
    embedded = sum(vectors[n] is not None for n in good)
    tally.embedded += embedded
    tally.kept += len(good) - embedded
    tally.refused += len(refused)
    roots = {job.root.id: job.root.path for job, _ in group}
    for file in refused:
        tally.named += 1
        if tally.named <= _SHOWN:
            path = roots[file.root] / os.fsdecode(file.path)
            yield Note(f"{_shown(path)} is passed over: {file.reason}", "warning")


def _anew(
    catalogue: Catalogue, embedder: Embedder, job: Job, result: tuple[Read, str] | BadPicture
) -> tuple[Read, str] | BadPicture:
    """The result, read again where it relied on a vector that is no longer there, as when two files swap names."""
    if isinstance(result, BadPicture) or result[0].pixels is not None:
        return result
    if catalogue.content(result[0].sha256, embedder.tag):
        return result
    try:
        return read_picture(job.path, embedder), result[1]
    except BadPicture as error:
        return error


def _vectors(catalogue: Catalogue, embedder: Embedder, pictures: Sequence[Read]) -> list[np.ndarray | None]:
    """A vector for each picture whose content has none yet; of several equal ones the first has it, the rest None."""
    new: dict[bytes, int] = {}
    for number, picture in enumerate(pictures):
        # Another picture of this content may have been recorded since this one was read.
        if picture.pixels is not None and not catalogue.content(picture.sha256, embedder.tag):
            new.setdefault(picture.sha256, number)
    vectors: list[np.ndarray | None] = [None] * len(pictures)
    if new:
        stacked = np.stack([pictures[n].pixels for n in new.values()])  # type: ignore[misc]  # (B, S, S, 3)
        for number, vector in zip(new.values(), embedder.pictures(stacked)):
            vectors[number] = vector
    return vectors


def _entry(job: Job, picture: Read, caption: str) -> Entry:
    found, note = job.found, job.found.note if job.caption else 0
    return Entry(
        job.root.id,
        found.path,
        found.size,
        found.mtime_ns,
        picture.sha256,
        picture.width,
        picture.height,
        caption,
        note,
    )


def _refused(job: Job, error: BadPicture) -> Refused | None:
    """What to record of a file that could not be read; nothing of one that is no longer there."""
    cause = error.__cause__
    if isinstance(cause, FileNotFoundError | NotADirectoryError) or not os.path.lexists(job.path):
        return None
    # Decoders raise OSErrors of their own, which have no number. Those of the system are about permission or the disk:
    # neither size nor time will change when that is mended, so that they are tried each time.
    if isinstance(cause, OSError) and cause.errno is not None:
        return _entry_refused(job, str(error))._replace(size=-1)
    return _entry_refused(job, str(error))


def _entry_refused(job: Job, reason: str) -> Refused:
    return Refused(job.root.id, job.found.path, reason, job.found.size, job.found.mtime_ns)


def _drop(catalogue: Catalogue, each: _Pass) -> int:
    """Forget what the walk did not meet and what really is not there, or is there but left out by the rules."""
    places = []
    for number, path, size, mtime_ns in catalogue.places(each.root.id):
        if number > each.highest:  # recorded since the walk began, by this run or another
            break
        if not each.seen[number] and not each.walk.is_unsure(path) and _is_gone(each, path, size, mtime_ns):
            places.append((number, path))
    mended = [path for path in each.mended if not each.walk.is_unsure(path)]
    return catalogue.drop(each.root.id, places, mended)


def _is_gone(each: _Pass, path: bytes, size: int, mtime_ns: int) -> bool:
    if each.walk.passes_over(path):
        return True
    try:
        status = os.stat(os.path.join(each.root.path, os.fsdecode(path)))
    except (FileNotFoundError, NotADirectoryError):
        return each.root.path.is_dir()  # the disk may have gone during the run
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) != (size, mtime_ns)


def _summary(catalogue: Catalogue, tally: Tally, seconds: float) -> str:
    parts = [
        f"{count} {what}"
        for count, what in (
            (tally.embedded, "embedded"),
            (tally.kept, "moved, copied or touched"),
            (tally.unchanged, "unchanged"),
            (tally.dropped, "dropped"),
            (tally.absent, "not reached"),
            (tally.refused, "cannot be read (lienzo index status names them)"),
        )
        if count
    ]
    return f"{_pictures(catalogue.count())} in the index after {seconds:.1f} s: {', '.join(parts) or 'none found'}."


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _shown(path: Path) -> str:
    return f"'{printable(str(path), 200)}'"
