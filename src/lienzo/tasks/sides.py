"""The two sides of a comparison: real pictures, and what is judged, be it pictures or a model that draws them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Progress
from lienzo.core.text import printable
from lienzo.data.native import NativePictures, native_pictures
from lienzo.imaging.writing import save_picture
from lienzo.weights.hub import PIPELINE_INDEX
from lienzo.weights.store import RUN_MODEL

if TYPE_CHECKING:
    import torch

    from lienzo.metrics.features import FeatureSet
    from lienzo.metrics.nets import FeatureNet
    from lienzo.tasks.drawing import Artist

CHUNK = 32  # pictures that a feature net sees at once


@dataclass
class Side:
    """Features of one side with what is known of its pictures.

    Attributes:
        features: one row a picture.
        names: file names, or numbers of drawn pictures.
        texts: what each picture should show, where known.
        labels: class of each, where known.
        source: what made the pictures, for the record.
    """

    features: FeatureSet
    names: list[str]
    texts: list[str] = field(default_factory=list)
    labels: np.ndarray | None = None
    source: Mapping[str, object] = field(default_factory=dict)


def is_model(spec: str) -> bool:
    """Whether a side's name is of a model: no folder, archive or shards of pictures, or a folder that holds a model.

    Raises:
        BadInput: it is the folder of a training that has saved nothing yet.
    """
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        if (path / "metrics.jsonl").exists() and not (path / RUN_MODEL).is_file():
            raise BadInput(f"The training in '{printable(spec, 200)}' has not saved a model yet.")
        return (path / RUN_MODEL).is_file() or is_diffusers_folder(path)
    return bool(spec) and path.suffix.lower() not in (".zip", ".tar") and "::" not in spec


def is_diffusers_folder(path: Path) -> bool:
    """Whether a folder holds the parts of a pipeline of diffusers."""
    return (path / PIPELINE_INDEX).is_file() or (path / "unet").is_dir()


def embed(
    net: FeatureNet, pictures: Iterator[np.ndarray], total: int, stage: str
) -> Generator[Event, None, FeatureSet]:
    """Features of a stream of pictures, with progress."""
    import torch

    from lienzo.metrics.features import FeatureSet

    rows: list[torch.Tensor] = []
    logits: list[torch.Tensor] = []
    began, chunk = time.monotonic(), list[np.ndarray]()

    def flush() -> None:
        found = net(chunk, batch_size=CHUNK)
        rows.append(found.rows)
        if found.logits is not None:
            logits.append(found.logits)
        chunk.clear()

    for done, image in enumerate(pictures, 1):
        chunk.append(image)
        if len(chunk) == CHUNK:
            flush()
        yield Progress(stage, done, total, time.monotonic() - began, "image")
    if chunk:
        flush()
    if not rows:
        raise BadInput("None of the pictures can be read.")
    made = {"net": net.tag, "sha": net.sha, "resize": net.resize}
    return FeatureSet(torch.cat(rows), torch.cat(logits) if logits else None, made)


def picture_side(net: FeatureNet, pictures: NativePictures, n: int | None, stage: str) -> Generator[Event, None, Side]:
    """The features of pictures at hand; those that cannot be read are told and left out.

    The side's source holds a digest of the pixels, so that two evaluations can tell whether they meant the same ones.
    """
    rows, kept, problems = pictures.some(n), list[int](), list[str]()
    digest = blake2b(digest_size=4)

    def stream() -> Iterator[np.ndarray]:
        for row in rows:
            try:
                image = pictures.read(row)
            except BadInput as error:
                problems.append(f"{pictures.names[row]}: {error}")
                continue
            kept.append(row)
            digest.update(f"{image.shape}".encode() + image.tobytes())
            yield image

    features = yield from embed(net, stream(), len(rows), stage)
    yield from (Note(problem, "warning") for problem in problems[:5])
    if problems:
        yield Note(f"{len(problems)} of {len(rows)} pictures cannot be read and were left out.", "warning")
    texts = [pictures.captions[row][0] for row in kept] if pictures.captions and all(pictures.captions) else []
    labels = None if pictures.labels is None else pictures.labels[kept]
    return Side(features, [pictures.names[row] for row in kept], texts, labels, {"pixels": digest.hexdigest()})


def against(side: Side, real: str) -> Side:
    """The side with the digest of the real pictures in its figures' protocols."""
    return replace(side, features=replace(side.features, made={**side.features.made, "real": real}))


def model_side(
    net: FeatureNet, artist: Artist, prompts: list[str], seed: int, batch: int, keep: Path | None
) -> Generator[Event, None, Side]:
    """The features of pictures that a model draws, one a prompt; `keep` saves them."""
    texts: list[str] = []

    def stream() -> Iterator[np.ndarray]:
        for drawn in artist.draw(prompts, seed, batch):
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                save_picture(drawn.image, keep / f"{len(texts):06d}.png", exist_ok=True)
            texts.append(drawn.prompt)
            yield drawn.image

    features = yield from embed(net, stream(), len(prompts), "draw")
    source = {**artist.protocol, "seed": seed}
    return Side(features, [f"{i:06d}" for i in range(len(texts))], texts, None, source)


def prompts_for(artist: Artist, given: Path | None, real: NativePictures | None, n: int) -> list[str]:
    """What the model should draw: lines of a file, else captions or class names of the real pictures, else nothing.

    Raises:
        BadInput: the model reads sentences and there are none.
    """
    if given is not None:
        lines = [line.strip() for line in given.read_text("utf-8", "replace").splitlines() if line.strip()]
        if not lines:
            raise BadInput(f"{given} holds no prompts; write one a line.")
        return [lines[i % len(lines)] for i in range(n)]
    if not artist.conditional:
        return [""] * n
    if real is not None and real.captions:
        rows = [row for row in real.some(n) if real.captions[row]]
        if rows:
            return [real.captions[rows[i % len(rows)]][0] for i in range(n)]
    if real is not None and real.labels is not None:
        rows = real.some(n)
        return [real.label_names[real.labels[rows[i % len(rows)]]] for i in range(n)]
    raise BadInput("This model draws what a sentence says, and the real pictures have no captions; give --prompts.")


def real_pictures(spec: str, size: int, split: str) -> NativePictures:
    """The real side's pictures."""
    return native_pictures(spec, size, split)  # type: ignore[arg-type]
