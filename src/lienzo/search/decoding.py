"""Reading and decoding pictures in threads, ahead of whoever embeds them, in bounded memory."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image

from lienzo.core.errors import BadInput, BadPicture
from lienzo.data.captions_beside import MAX_SIDECAR, lines_of
from lienzo.imaging.containers import is_webp, webp_size
from lienzo.imaging.reading import FORMATS, Limits, open_picture, read_bytes
from lienzo.search.seams import Embedder
from lienzo.search.walking import note_of

_HEAVY_PIXELS = 12_000_000
_HEAVY_BYTES = 32 << 20
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_heavy = threading.RLock()  # large pictures are decoded one at a time, so that memory stays bounded
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Read:
    """A picture that was read.

    Attributes:
        sha256: of the file.
        width: pixels, upright, as in the file.
        height: likewise.
        pixels: what the tower reads, uint8 (size, size, 3); None where a vector of this content is there already.
    """

    sha256: bytes
    width: int
    height: int
    pixels: np.ndarray | None


def read_picture(
    path: str, embedder: Embedder, content: Callable[[bytes], tuple[int, int] | None] = lambda sha256: None
) -> Read:
    """Read, hash and prepare a picture.

    Args:
        path: the file.
        embedder: prepares it.
        content: gives width and height of a content (sha256) that needs no decoding, else None.

    Raises:
        BadPicture: it cannot be read; caused by an OSError where that is not the picture's fault.
    """
    try:
        heavy = os.stat(path).st_size > _HEAVY_BYTES
    except OSError:
        heavy = False  # reading says what is wrong
    if not heavy:
        return _read(path, embedder, content)
    with _heavy:
        return _read(path, embedder, content)


def _read(path: str, embedder: Embedder, content: Callable[[bytes], tuple[int, int] | None]) -> Read:
    data = read_bytes(path, Limits.file_bytes)
    sha256 = hashlib.sha256(data).digest()
    known = content(sha256)
    if known is not None:
        return Read(sha256, *known, None)
    size = picture_size(data)
    try:
        if size[0] * size[1] <= _HEAVY_PIXELS:
            return Read(sha256, *size, decode(data, embedder))
        with _heavy:
            return Read(sha256, *size, decode(data, embedder))
    except MemoryError as error:
        raise BadPicture("The picture needs more memory than there is.") from error


def enough(size: int) -> int:
    """The shorter side from which a JPEG is decoded for a tower of `size` pixels: somewhat more, so that the tower's
    own resizing decides how it looks. The cosine with the vector of the whole picture stays above 0.9995."""
    return max(192, round(1.15 * size))


def decode(data: bytes, embedder: Embedder) -> np.ndarray:
    """A picture's file as the tower wants it, uint8 (size, size, 3).

    Raises:
        BadPicture: as `open_picture`.
    """
    return embedder.prepare(open_picture(data, at_least=enough(embedder.size)))


def read_caption(path: str) -> str:
    """The lines of the text file beside a picture; empty where there is none or it cannot be read."""
    try:
        return "\n".join(lines_of(read_bytes(note_of(path), MAX_SIDECAR)))
    except BadInput:
        return ""


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height as it is seen, from the file's head; (0, 0) where that is broken, which decoding will say."""
    try:
        if is_webp(data):
            width, height = webp_size(data) or (0, 0)
            if width * height > Limits.pixels:
                return width, height
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            sideways = image.getexif().get(0x0112, 1) in _SIDEWAYS
            return (height, width) if sideways else (width, height)
    except Exception:  # decoders raise almost anything about broken files
        return 0, 0


def ahead(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int, window: int
) -> Generator[tuple[Job, Result | BadPicture], None, None]:
    """Do the jobs in threads; give results in order, at most `window` of them ahead. Closing it stops the threads."""
    jobs = iter(jobs)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    running: deque[tuple[Job, Future[Result]]] = deque()
    try:
        for job in islice(jobs, window):
            running.append((job, pool.submit(work, job)))
        while running:
            job, future = running.popleft()
            try:
                result: Result | BadPicture = future.result()
            except BadPicture as error:
                result = error
            for following in islice(jobs, 1):
                running.append((following, pool.submit(work, following)))
            yield job, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
