"""`lienzo rank`: which of some pictures fits a sentence best."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.core.files import replacing
from lienzo.core.options import Options
from lienzo.core.text import printable


class Rank(Options):
    """Order pictures by how well they fit a sentence, best first.

    With several CLIPs, the scores of each are first measured in its own spread over these pictures, then averaged, so
    that none has more say than another.
    """

    prompt: str = Field(json_schema_extra={"positional": True})
    """The sentence."""
    paths: tuple[str, ...] = Field((), json_schema_extra={"positional": True})
    """Pictures, and folders with everything in them."""
    clip: tuple[str, ...] = ()
    """CLIPs that judge; default: the bundled judge."""
    top: int | None = Field(None, ge=1, json_schema_extra={"short": "-k"})
    """Most pictures to show; default: all."""
    sheet: Path | None = None
    """Picture file (.png) for a sheet of thumbnails."""
    copy_best: Path | None = None
    """Where to copy the best picture, unchanged. An existing file stays."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the CLIP computes."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A picture with its place: an event of its own, so that JSON has a line for each."""

    rank: int
    """From 1."""
    score: float
    """Cosine of the only CLIP; of several, the mean of their scores in standard deviations from their means."""
    path: str
    """As given; bytes that are no text are lone surrogates, as Python's `os.fsencode` takes them back."""
    scores: dict[str, float]
    """Cosine of each CLIP."""


def run(options: Rank) -> Iterator[Event | Ranked]:
    """Rank.

    Yields:
        Progress over pictures, Notes about broken ones, a Ranked for each, best first, and a Table of them.

    Raises:
        BadInput: there is no such file or CLIP, or no picture can be read.
    """
    from lienzo.clip.embedder import DEFAULT_CLIP
    from lienzo.tasks.answers import pictures_at
    from lienzo.tasks.outputs import spare_inputs, write_results

    check(options)
    files = [found.path for found in (yield from pictures_at(options.paths))]
    spare_inputs("sheet", options.sheet, files)
    clips = tuple(dict.fromkeys(options.clip)) or (DEFAULT_CLIP,)
    rows, cosines = yield from judged(options, files, clips)
    ranking = ranked([files[row] for row in rows], clips, cosines)
    shown = ranking[: options.top]
    yield from shown
    yield table(options.prompt, clips, shown)
    if options.sheet is not None:
        yield from write_results(options.sheet, options.prompt, shown)
    if options.copy_best is not None:
        copy_whole(Path(ranking[0].path), options.copy_best)
        yield Note(f"The best picture is copied to {printable(str(options.copy_best))}.")


def check(options: Rank) -> None:
    """Say before the work what would fail after it.

    Raises:
        BadInput: there is nothing to rank, or a file cannot be written.
    """
    from lienzo.tasks.outputs import check_output

    if not options.paths:
        raise BadInput("There are no pictures to rank; give files or folders after the sentence.")
    if not options.prompt.strip():
        raise BadInput("The sentence is empty.")
    check_output("sheet", options.sheet, picture=True)
    check_output("copy-best", options.copy_best)
    best = options.copy_best
    if best is not None and (best.exists() or best.is_symlink()):
        raise BadInput(f"--copy-best '{printable(str(best))}' exists already; choose another name.")


def judged(
    options: Rank, files: Sequence[Path], clips: Sequence[str]
) -> Generator[Event, None, tuple[list[int], np.ndarray]]:
    """The rows that can be read, and every CLIP's cosines with the sentence, (clips, rows)."""
    from PIL.Image import Image

    from lienzo.clip.embedder import open_embedder
    from lienzo.imaging.reading import open_picture
    from lienzo.search.answers import shown_path
    from lienzo.search.decoding import enough
    from lienzo.tasks.embedded import embed_pictures

    device = None if options.device == "auto" else options.device
    embedders = [open_embedder(name, device) for name in clips]
    rows, cosines = list(range(len(files))), list[np.ndarray]()
    for name, embedder in zip(clips, embedders):
        least = enough(embedder.size)
        left = [files[row] for row in rows]

        def read(number: int, left: list[Path] = left, least: int = least) -> Image:
            return open_picture(left[number], at_least=least)

        names = [shown_path(path) for path in left]
        stage = "rank" if len(clips) == 1 else f"rank by {printable(name, 60)}"
        vectors, kept = yield from embed_pictures(embedder, read, names, stage)
        cosines = [earlier[kept] for earlier in cosines] + [vectors @ embedder.texts([options.prompt])[0]]
        rows = [rows[number] for number in kept]
    return rows, np.stack(cosines)


def ranked(files: Sequence[Path], clips: Sequence[str], cosines: np.ndarray) -> list[Ranked]:
    """Pictures in order, best first; equal ones in the order of their paths.

    Args:
        files: N pictures.
        clips: M names.
        cosines: (M, N).
    """
    if len(clips) == 1:
        scores = cosines[0]
    else:
        spread = cosines.std(1, keepdims=True)
        scores = ((cosines - cosines.mean(1, keepdims=True)) / np.where(spread > 1e-9, spread, 1.0)).mean(0)
    order = sorted(range(len(files)), key=lambda row: (-float(scores[row]), os.fsencode(files[row])))
    return [
        Ranked(
            place,
            float(scores[row]),
            str(files[row]),
            {name: float(cosine) for name, cosine in zip(clips, cosines[:, row])},
        )
        for place, row in enumerate(order, 1)
    ]


def table(prompt: str, clips: Sequence[str], ranking: Sequence[Ranked]) -> Table:
    """The ranking as rows of text; a column for each of several CLIPs."""
    from lienzo.search.answers import shown_path

    several = tuple(clips) if len(clips) > 1 else ()
    rows = tuple(
        (
            str(each.rank),
            f"{each.score:.3f}",
            *(f"{each.scores[name]:.3f}" for name in several),
            shown_path(each.path),
        )
        for each in ranking
    )
    return Table(printable(prompt, 200), ("rank", "score", *map(printable, several), "picture"), rows)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file byte for byte; a name that exists meanwhile stays.

    Raises:
        BadInput: the name's suffix tells of another format, or the disk refuses.
    """
    from lienzo.imaging.reading import Limits, read_bytes

    same = {".jpeg": ".jpg", ".tiff": ".tif"}
    old, new = source.suffix.lower(), target.suffix.lower()
    if same.get(old, old) != same.get(new, new):
        raise BadInput(f"The best picture is a {old} file, and --copy-best copies it unchanged; name it so.")
    data = read_bytes(source, Limits.file_bytes)
    with replacing(target, exist_ok=False) as temporary:
        temporary.write_bytes(data)
