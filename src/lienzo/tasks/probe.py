"""`lienzo probe`: how well a CLIP's vectors tell your classes apart once a linear classifier has seen some of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.core.options import Options
from lienzo.core.text import printable

if TYPE_CHECKING:
    import numpy as np

    from lienzo.clip.embedder import Embedder
    from lienzo.clip.linear_probe import Probe as LinearProbe
    from lienzo.data.native import NativePictures

COPY = 0.99999
"""Cosine from which a withheld picture counts as a copy of one to train on."""


class Probe(Options):
    """Train a linear probe: logistic regression on a CLIP's vectors of labelled pictures.

    It is measured on pictures it was not trained on, beside zero-shot by the classes' names and beside always saying
    the most frequent class. lienzo classify --probe uses it.
    """

    data: str = Field(json_schema_extra={"positional": True})
    """Folder with a folder of pictures for each class, or any labelled data: .zip, shards, IDX files, a corpus."""
    test: str | None = None
    """Labelled data to measure on; default: the data's own test part, or --held of them."""
    held: float = Field(0.25, gt=0, lt=1)
    """Share of each class that is withheld, where there are no test data; chosen by the pictures' names."""
    clip: str | None = None
    """CLIP by name or file; default: the one that comes with Lienzo."""
    c: float = Field(0.316, gt=0)
    """Inverse strength of the penalty; 0.316 is OpenAI's for vectors of unit length or more."""
    sweep: bool = False
    """Choose C from 0.001 to 10000 by five-fold cross-validation on the pictures to train on."""
    templates: str = "simple"
    """Sentences around the classes' names for the zero-shot comparison; as in lienzo classify."""
    out: Path = Path("probe.safetensors")
    """File for the probe."""
    confusion: Path | None = None
    """Picture file for the confusion matrix."""
    n: int | None = Field(None, ge=2)
    """Most pictures that are used."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


@dataclass(frozen=True)
class Part:
    """Vectors float32 (N, D) with classes int64 (N,)."""

    vectors: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.target)


def run(options: Probe) -> Iterator[Event]:
    """Train and measure.

    Yields:
        Progress, Notes, a Metric of each accuracy, and a Table of the classes.

    Raises:
        BadInput: scikit-learn is not installed, data have no classes, or files cannot be written.
    """
    from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
    from lienzo.clip.linear_probe import best_c, fit_probe, need_sklearn, save_probe
    from lienzo.clip.templates import templates_of
    from lienzo.tasks.devices import pick_device

    need_sklearn()
    check(options)
    templates = templates_of(options.templates)
    name = options.clip or DEFAULT_CLIP
    embedder = open_embedder(name, pick_device(options.device))
    train, test, labels = yield from parts(options, embedder)
    c = options.c
    if options.sweep:
        c, tried = best_c(train.vectors, train.target)
        rows = tuple((f"{each:g}", f"{share:.4f}") for each, share in tried.items())
        yield Table("Cross-validation", ("C", "accuracy"), rows)
    probe = fit_probe(train.vectors, train.target, labels, c=c, clip=name, tag=embedder.tag)
    yield from measured(probe, train, test, embedder, templates)
    answers = probe.logits(test.vectors).argmax(1).numpy()
    yield from confused(options.confusion, answers, test, labels)
    save_probe(options.out, probe)
    yield Note(f"The probe is in {options.out}; lienzo classify PICTURES --probe {options.out} uses it.")


def check(options: Probe) -> None:
    """Say at once what cannot be written."""
    from lienzo.tasks.outputs import check_output

    check_output("out", options.out)
    if options.out.suffix.lower() != ".safetensors":
        raise BadInput(f"The name for --out ends in .safetensors; '{printable(str(options.out), 200)}' does not.")
    check_output("confusion", options.confusion, picture=True)


def parts(options: Probe, embedder: Embedder) -> Generator[Event, None, tuple[Part, Part, tuple[str, ...]]]:
    """What to train on, what to measure on, and the classes.

    Raises:
        BadInput: data have no classes, or too few pictures to be divided.
    """
    import numpy as np

    size = max(64, embedder.size)
    divided = has_test(options, size)
    first = labelled(options.data, size, "train" if divided else "all")
    second: NativePictures | None = None
    if options.test is not None or divided:
        second = labelled(options.test or options.data, size, "all" if options.test else "test")
    own = yield from embedded(embedder, first, options.n, "train on" if second else "pictures")
    if second is None:
        held = withheld(own.names, own.part.target, options.held)
        train, test = (Part(own.part.vectors[rows], own.part.target[rows]) for rows in (~held, held))
    else:
        other = yield from embedded(embedder, second, options.n, "measure on")
        train, test = own.part, Part(other.part.vectors, renamed(other.part.target, second, first))
    copies = np.array([(rows @ train.vectors.T).max() >= COPY for rows in test.vectors], bool)
    if copies.any():
        copied = f"{copies.sum()} pictures to measure on are copies of ones to train on, as this CLIP sees them"
        yield Note(f"{copied}; they do not count.", "warning")
        test = Part(test.vectors[~copies], test.target[~copies])
    if not len(test):
        raise BadInput("No picture is left to measure on; give more data, or others with --test.")
    return train, test, first.label_names


def has_test(options: Probe, size: int) -> bool:
    """Whether the data bring a test part of their own that is wanted."""
    if options.test is not None:
        return False
    from lienzo.data.native import native_pictures

    try:
        return len(native_pictures(options.data, size, "test")) > 0
    except BadInput:
        return False


def labelled(spec: str, size: int, split: Literal["all", "train", "test"]) -> NativePictures:
    """Data with classes.

    Raises:
        BadInput: there are none.
    """
    from lienzo.data.native import native_pictures

    data = by_folder(native_pictures(spec, size, split))
    if data.labels is None or len(data.label_names) < 2:
        raise BadInput(
            f"'{printable(spec, 200)}' has no classes; put the pictures into at least two folders, one for each class."
        )
    return data


def by_folder(data: NativePictures) -> NativePictures:
    """Classes by the folder of each picture where captions beside the pictures kept them from being read as classes."""
    import numpy as np

    parts = [name.split("/") for name in data.names]
    if data.labels is not None or len({len(each) for each in parts}) != 1 or len(parts[0]) < 2:
        return data
    names = sorted({each[-2] for each in parts})
    return replace(data, labels=np.array([names.index(each[-2]) for each in parts]), label_names=tuple(names))


@dataclass(frozen=True)
class Named:
    """A part with the names of its pictures."""

    part: Part
    names: list[str]


def embedded(embedder: Embedder, data: NativePictures, n: int | None, stage: str) -> Generator[Event, None, Named]:
    """The vectors of labelled pictures, without broken ones."""
    from PIL import Image

    from lienzo.tasks.embedded import embed_pictures

    assert data.labels is not None
    rows = data.some(n)
    names = [data.names[row] for row in rows]
    vectors, kept = yield from embed_pictures(embedder, lambda i: Image.fromarray(data.read(rows[i])), names, stage)
    return Named(Part(vectors, data.labels[[rows[i] for i in kept]]), [names[i] for i in kept])


def withheld(names: list[str], target: np.ndarray, share: float) -> np.ndarray:
    """Which pictures to measure on, bool (N,): that share of each class, by a hash of the names.

    A class of one picture is trained on. Whatever the share, a class of two or more has one of each kind.
    """
    import numpy as np

    held = np.zeros(len(names), bool)
    place = [blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names]
    for label in np.unique(target):
        rows = sorted(np.flatnonzero(target == label), key=lambda row: place[row])
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        held[rows[:count]] = True
    return held


def renamed(target: np.ndarray, theirs: NativePictures, ours: NativePictures) -> np.ndarray:
    """Classes of other data as numbers of ours.

    Raises:
        BadInput: they have a class that ours do not.
    """
    import numpy as np

    missing = [name for name in theirs.label_names if name not in ours.label_names]
    if missing:
        raise BadInput(f"The test data have a class '{printable(missing[0], 100)}' that the data to train on lack.")
    return np.array([ours.label_names.index(name) for name in theirs.label_names], np.int64)[target]


def measured(
    probe: LinearProbe, train: Part, test: Part, embedder: Embedder, templates: tuple[str, ...]
) -> Iterator[Event]:
    """Accuracies on the withheld pictures: the probe, zero-shot, the most frequent class."""
    import numpy as np
    import torch

    from lienzo.clip.zero_shot import zero_shot_weights
    from lienzo.tasks.answers import share_of

    weights = zero_shot_weights(embedder, [(label.replace("_", " "),) for label in probe.labels], templates)
    frequent = np.bincount(train.target, minlength=len(probe.labels)).argmax()
    answers = {
        "accuracy": probe.logits(test.vectors).argmax(1).numpy(),
        "accuracy zero-shot": (torch.from_numpy(test.vectors).float() @ weights[0]).argmax(1).numpy(),
        "accuracy most frequent class": np.full(len(test), frequent),
    }
    protocol = f"clip={embedder.tag[:8]},C={probe.c:g},classes={len(probe.labels)},train={len(train)},n={len(test)}"
    for name, answer in answers.items():
        yield share_of(name, (answer == test.target).tolist(), protocol)


def confused(path: Path | None, answers: np.ndarray, test: Part, labels: tuple[str, ...]) -> Iterator[Event]:
    """A Table of each class's recall and what it is most taken for; the matrix as a picture where wanted."""
    import numpy as np

    from lienzo.imaging.confusion import confusion_picture
    from lienzo.imaging.writing import save_picture

    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (test.target, answers), 1)
    rows = []
    for place, label in enumerate(labels):
        total, others = int(counts[place].sum()), counts[place].copy()
        others[place] = 0
        taken = f"{labels[others.argmax()]} ({others.max()})" if others.any() else ""
        rows.append((label, str(total), f"{counts[place, place] / total:.3f}" if total else "", taken))
    yield Table("Classes", ("class", "pictures", "right", "most taken for"), tuple(rows))
    if path is not None:
        save_picture(confusion_picture(counts, labels), path, exist_ok=True)
        yield Note(f"The confusion matrix is {path}.")
