"""Draw all pictures of a source in several processes into one staged tar, which is there whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from lienzo.core.errors import BadPicture
from lienzo.core.events import Event, Progress
from lienzo.data.pictures import SIZES, square_pictures
from lienzo.data.records import Drawing, Record, record_of
from lienzo.data.shards import read_members, write_shard

CHUNK = 16
Job = tuple[bytes, str, str]


def draw_jobs(jobs: list[Job]) -> list[dict[int, bytes] | str]:
    """For each (data, kind, fit): the pictures by size, or one phrase that says why there are none."""
    results: list[dict[int, bytes] | str] = []
    for data, kind, fit in jobs:
        try:
            results.append(square_pictures(data, kind, fit))
        except BadPicture as error:
            results.append(str(error))
    return results


def with_unique_slugs(drawings: Iterable[Drawing]) -> Iterator[Drawing]:
    """The drawings; a slug that was there before gets the first free number from 2 on, ``cat-2``."""
    taken: set[str] = set()
    for drawing in drawings:
        free = drawing.slug
        number = 2
        while free in taken:
            free, number = f"{drawing.slug}-{number}", number + 1
        taken.add(free)
        yield replace(drawing, slug=free)


def render_source(name: str, path: Path, drawings: Iterable[Drawing], workers: int) -> Iterator[Event | dict[str, str]]:
    """Draw the source `name` into the tar `path`: KEY.json, KEY.256.png, KEY.128.png and KEY.64.png an item, in order.

    Yields progress and, last, a dict of the slugs that could not be drawn with the reason.
    """
    chosen = list(with_unique_slugs(drawings))
    start, failed = time.monotonic(), {}
    members: list[tuple[str, bytes]] = []
    for done, (drawing, result) in enumerate(_drawn(chosen, workers), start=1):
        if isinstance(result, str):
            failed[drawing.slug] = result
        else:
            record = record_of(drawing)
            members.append((f"{record.key}.json", json.dumps(record.to_json(), ensure_ascii=False).encode()))
            members += [(f"{record.key}.{size}.png", result[size]) for size in SIZES]
        if done % CHUNK == 0 or done == len(chosen):
            yield Progress(name, done, len(chosen), time.monotonic() - start, "picture")
    write_shard(path, members)
    yield failed


def _drawn(chosen: list[Drawing], workers: int) -> Iterator[tuple[Drawing, dict[int, bytes] | str]]:
    """Each drawing with its pictures, in order; closing the iterator stops the processes."""
    chunks = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
    jobs = [[(drawing.data, drawing.kind, drawing.fit) for drawing in chunk] for chunk in chunks]
    if workers <= 1:
        for chunk, job in zip(chunks, jobs, strict=True):
            yield from zip(chunk, draw_jobs(job), strict=True)
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        for chunk, results in zip(chunks, pool.map(draw_jobs, jobs), strict=True):
            yield from zip(chunk, results, strict=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_rendered(path: Path) -> Iterator[tuple[Record, dict[int, bytes]]]:
    """The items of a staged tar: the record without its split, and PNG files by size."""
    record: Record | None = None
    pictures: dict[int, bytes] = {}
    for _, extension, content in read_members(path):
        if extension == "json":
            record, pictures = Record.from_json(json.loads(content)), {}
        elif record is not None and extension.endswith(".png"):
            pictures[int(extension.split(".")[0])] = content
            if len(pictures) == len(SIZES):
                yield record, pictures
