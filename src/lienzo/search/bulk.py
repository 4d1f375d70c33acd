"""Embedding very many pictures on a cluster: Ray Data spreads them over processes that hold a CLIP each. `[cluster]`

The result is a folder in clip-retrieval's layout, which `lienzo index import` and other programs read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput, BadPicture, LienzoError
from lienzo.core.events import Note, Progress
from lienzo.core.text import printable
from lienzo.imaging.reading import open_picture
from lienzo.search.decoding import enough
from lienzo.search.exchange import Batch, LayoutWriter
from lienzo.search.seams import Embedder

Opener = Callable[[str], Embedder]
_SHOWN = 10  # broken files that are named


def embed_folder_on_ray(
    paths: Sequence[str | Path],
    clip: str,
    out: Path,
    *,
    workers: int = 1,
    batch: int = 64,
    cpus: float = 1,
    gpus: float = 0,
    opener: Opener | None = None,
) -> Iterator[Progress | Note]:
    """Embed pictures on the Ray cluster that this process is connected to, or on this machine if it is to none.

    Args:
        paths: pictures, as every machine of the cluster reaches them.
        clip: the CLIP, as `open_embedder` takes it; each worker opens it once.
        out: new folder in clip-retrieval's layout; it appears when everything is embedded.
        workers: processes.
        batch: pictures embedded at once.
        cpus: processors of each worker.
        gpus: accelerators of each worker; the CLIP is put on it.
        opener: opens the CLIP instead of `open_embedder`.

    Yields:
        Progress by batches, and a Note of each broken file, up to ten, and of their number. Broken files are left out.

    Raises:
        BadInput: ray or pyarrow is not installed, there are no paths, `out` cannot be written or is not empty, or
            the work fails on the cluster.
    """
    if not paths:
        raise BadInput("There are no pictures to embed.")
    data = _ray_data()
    rows = [{"path": str(path)} for path in paths]
    embedded = data.from_items(rows, override_num_blocks=max(min(len(rows) // batch, 1000), 1)).map_batches(
        _Worker,
        fn_constructor_args=(clip, "cuda" if gpus else None, opener),
        batch_size=batch,
        concurrency=workers,
        num_cpus=cpus,
        num_gpus=gpus,
    )
    embedded.context.enable_progress_bars = False  # progress is what this yields
    begun, done, broken = time.monotonic(), 0, 0
    first, parts = _peeked(_told(embedded.iter_batches(batch_size=batch, batch_format="numpy")))
    dim, tag = int(first["vector"].shape[1]), str(first["tag"][0])
    with LayoutWriter(out, dim, facts={"tag": tag, "dim": dim, "clip": clip}) as writer:
        for part in parts:
            good = part["reason"] == ""
            for reason in part["reason"][~good]:
                broken += 1
                if broken <= _SHOWN:
                    yield Note(str(reason), "warning")
            writer.add(Batch(part["path"][good].tolist(), [""] * int(good.sum()), part["vector"][good]))
            done += len(good)
            yield Progress("embed", done, len(rows), time.monotonic() - begun, "picture")
    if broken:
        yield Note(f"{broken} of {len(rows)} files could not be read and are left out.", "warning")


class _Worker:
    """Holds a CLIP and embeds batches of paths."""

    def __init__(self, clip: str, device: str | None, opener: Opener | None):
        self.embedder = opener(clip) if opener is not None else _opened(clip, device)
        self.pool = ThreadPoolExecutor(4)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        read = list(self.pool.map(self._read, batch["path"].tolist()))
        vectors = np.zeros((len(read), self.embedder.dim), np.float32)
        good = [i for i, picture in enumerate(read) if isinstance(picture, np.ndarray)]
        if good:
            vectors[good] = self.embedder.pictures(np.stack([read[i] for i in good]))
        reasons = ["" if isinstance(picture, np.ndarray) else picture for picture in read]
        for i in np.flatnonzero(~np.isfinite(vectors).all(1)).tolist():
            reasons[i] = "The model gives no vector for a picture."
        tags = np.array([self.embedder.tag] * len(read), object)
        return {"path": batch["path"], "vector": vectors, "reason": np.array(reasons, object), "tag": tags}

    def _read(self, path: str) -> np.ndarray | str:
        try:
            return self.embedder.prepare(open_picture(path, at_least=enough(self.embedder.size)))
        except BadPicture as error:
            return str(error)


def _opened(clip: str, device: str | None) -> Embedder:
    from lienzo.clip.embedder import open_embedder

    return open_embedder(clip, device, "image")


def _told(parts: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The parts; what fails on the cluster is one sentence."""
    try:
        yield from parts
    except Exception as error:  # Ray raises its own kinds, and kinds made up of them and of what its worker raised
        raise BadInput(f"Embedding on the cluster failed: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What went wrong in a worker, of all that Ray says about it: its cause, or the last line of its trace."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LienzoError):
            return str(cause.cause if hasattr(cause, "cause") else cause).strip().splitlines()[-1]
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = printable(lines[-1] if any("Traceback" in line or "ray::" in line for line in lines) else lines[0], 300)
    return text if text.endswith(".") else f"{text}."


def _peeked(parts: Iterator[dict[str, Any]]) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """The first part, and all of them."""
    parts = iter(parts)
    first = next(parts)

    def every() -> Iterator[dict[str, Any]]:
        yield first
        yield from parts

    return first, every()


def _ray_data() -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise BadInput("Embedding on a cluster needs Ray; install it with: pip install 'lienzo[cluster]'") from error
    return ray.data
