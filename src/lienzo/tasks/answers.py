"""Who answers what a picture shows: a CLIP with labels or with a probe; and what it answered."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from lienzo.clip.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    held_out_probabilities,
    log_loss,
)
from lienzo.clip.linear_probe import Probe
from lienzo.clip.zero_shot import Average, zero_shot_weights
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note
from lienzo.core.text import printable
from lienzo.imaging.reading import open_picture
from lienzo.search.decoding import enough
from lienzo.search.walking import Walk
from lienzo.tasks.embedded import embed_pictures
from lienzo.tasks.labels import UNKNOWN, Label, folded

if TYPE_CHECKING:
    from lienzo.clip.embedder import Embedder

DEVIATIONS = 1.959964  # of a normal distribution, that hold 95 % of it


class Found(NamedTuple):
    """A picture, and the names of the folders around it, innermost first."""

    path: Path
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Labeller:
    """A CLIP with its classes.

    Attributes:
        embedder: gives pictures their vectors.
        labels: the classes.
        scores: vectors (N, D) to scores (M, N, classes), for `ensemble_probabilities`.
        calibration: scores to probabilities.
        protocol: what the answers depend on.
        least: the smallest score that counts as an answer, or None.
    """

    embedder: Embedder
    labels: tuple[str, ...]
    scores: Callable[[np.ndarray], Tensor]
    calibration: Calibration
    protocol: str
    least: float | None = None


@dataclass(frozen=True)
class Answers:
    """What a labeller said of pictures.

    Attributes:
        files: the pictures that could be read.
        truth: for each the label that a folder around it names, or None.
        labels: the classes.
        scores: (M, N, classes).
        probabilities: (N, classes).
        known: for each whether its best score is high enough.
    """

    files: list[Path]
    truth: list[int | None]
    labels: tuple[str, ...]
    scores: Tensor
    probabilities: Tensor
    known: list[bool]

    def best(self, row: int, count: int) -> list[tuple[str, float]]:
        """The most probable labels; where no score is high enough, `UNKNOWN` alone, whose probability is nan."""
        if not self.known[row]:
            return [(UNKNOWN, math.nan)]
        values, places = self.probabilities[row].topk(min(count, len(self.labels)))
        return [(self.labels[place], value) for place, value in zip(places.tolist(), values.tolist())]


def pictures_at(paths: Sequence[str]) -> Generator[Event, None, list[Found]]:
    """The pictures at paths, once each, and Notes about folders in them that cannot be read.

    Folders above a given folder do not count: nobody named a label with them. Hidden files are passed over.

    Raises:
        BadInput: a path does not exist, or a folder holds no pictures.
    """
    # Pillow's remarks about what is odd in a file; what cannot be read is told of anyway.
    warnings.filterwarnings("ignore", category=Warning, module="PIL")
    found: dict[Path, Found] = {}
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            walk = Walk(path.resolve())
            inside = sorted(os.fsdecode(each.path) for each in walk)
            for folder, reason in walk.unreadable.items():
                name = printable(str(path / os.fsdecode(folder)), 200)
                yield Note(f"The folder '{name}' cannot be read: {reason}.", "warning")
            if not inside:
                raise BadInput(f"The folder '{printable(given, 200)}' holds no pictures.")
            for name in inside:
                folders = (*Path(name).parts[-2::-1], path.resolve().name)
                found.setdefault(path / name, Found(path / name, folders))
        elif path.exists() or path.is_symlink():
            found.setdefault(path, Found(path, (path.absolute().parent.name,)))
        else:
            raise BadInput(f"There is no picture or folder '{printable(given, 200)}'.")
    return list(found.values())


def word_labeller(
    embedder: Embedder,
    labels: Sequence[Label],
    templates: Sequence[str],
    *,
    average: Average = "embeddings",
    temperature: float | None = None,
    least: float | None = None,
) -> Labeller:
    """A labeller by words; without a temperature its own is one over the CLIP's logit scale."""
    weights = zero_shot_weights(embedder, [label.texts for label in labels], templates, average=average)  # (M, D, C)
    own = 1 / embedder.scale
    return Labeller(
        embedder,
        tuple(label.name for label in labels),
        lambda vectors: torch.from_numpy(vectors).float() @ weights,
        Calibration(temperature or own),
        f"clip={embedder.tag[:8]},labels={len(labels)},templates={len(templates)},average={average}",
        least,
    )


def probe_labeller(embedder: Embedder, probe: Probe, temperature: float | None = None) -> Labeller:
    """A labeller by a linear probe.

    Raises:
        BadInput: the CLIP is not the one that the probe was trained on.
    """
    if probe.tag not in (embedder.tag, *getattr(embedder, "former", ())):
        wanted, there = printable(probe.tag, 80), printable(embedder.tag, 80)
        raise BadInput(f"The probe reads vectors of '{wanted}', and this CLIP is '{there}'; name that one with --clip.")
    return Labeller(
        embedder,
        probe.labels,
        lambda vectors: probe.logits(vectors)[None],
        Calibration(temperature or 1.0),
        f"clip={embedder.tag[:8]},labels={len(probe.labels)},probe={probe.c:g}",
    )


def answered(labeller: Labeller, pictures: Sequence[Found], stage: str = "classify") -> Generator[Event, None, Answers]:
    """What the labeller says of the pictures that can be read."""
    least = enough(labeller.embedder.size)

    def read(row: int) -> Image:
        return open_picture(pictures[row].path, at_least=least)

    names = [str(picture.path) for picture in pictures]
    vectors, kept = yield from embed_pictures(labeller.embedder, read, names, stage)
    scores = labeller.scores(vectors)
    places = {folded(label): place for place, label in enumerate(labeller.labels)}
    best = scores.mean(dim=0).amax(dim=-1)
    return Answers(
        [pictures[row].path for row in kept],
        [_named(pictures[row].folders, places) for row in kept],
        labeller.labels,
        scores,
        labeller.calibration(scores),
        [True] * len(kept) if labeller.least is None else (best >= labeller.least).tolist(),
    )


def _named(folders: Sequence[str], places: dict[str, int]) -> int | None:
    """The label that the innermost folder with a label's name stands for."""
    return next((places[folded(name)] for name in folders if folded(name) in places), None)


def share_of(name: str, right: Sequence[bool], protocol: str) -> Metric:
    """A share of right answers with its 95 % interval by Wilson 1927, which is wide for few even if all are right."""
    n, share = len(right), sum(right) / len(right)
    whole = 1 + DEVIATIONS**2 / n
    middle = (share + DEVIATIONS**2 / (2 * n)) / whole
    half = DEVIATIONS * math.sqrt(share * (1 - share) / n + (DEVIATIONS / (2 * n)) ** 2) / whole
    return Metric(name, share, protocol, interval=(max(middle - half, 0.0), min(middle + half, 1.0)))


def calibrated(labeller: Labeller, folder: str, with_bias: bool) -> Generator[Event, None, Labeller]:
    """The labeller with a temperature that fits labelled pictures; Metrics tell the errors before and after.

    Those after are of pictures that their fit had not seen (five folds).

    Raises:
        BadInput: fewer than two pictures a label lie in folders that name a label.
    """
    answers = yield from answered(labeller, (yield from pictures_at([folder])), "calibrate")
    rows = [row for row, truth in enumerate(answers.truth) if truth is not None]
    if len(rows) < 2 * len(labeller.labels):
        raise BadInput(
            f"Calibrating needs at least {2 * len(labeller.labels)} pictures in folders that are named as the labels; "
            f"'{printable(folder, 200)}' has {len(rows)}."
        )
    if len(rows) < len(answers.files):
        left = len(answers.files) - len(rows)
        yield Note(f"{left} pictures of '{printable(folder, 200)}' are in no folder named as a label.", "warning")
    target = torch.tensor([truth for truth in answers.truth if truth is not None])
    scores, start = answers.scores[:, rows], labeller.calibration.temperature
    fitted = fit_calibration(scores, target, start=start, with_bias=with_bias)
    after = held_out_probabilities(scores, target, start=start, with_bias=with_bias)
    protocol = f"{labeller.protocol},n={len(rows)}"
    before = labeller.calibration(scores)
    if log_loss(after, target) >= log_loss(before, target):
        text = "The fitted temperature is no better than the CLIP's own on pictures it was not fitted on."
        yield Note(f"{text} More pictures may help.", "warning")
    for when, probabilities in (("before", before), ("after, held out", after)):
        yield Metric("calibration error", expected_calibration_error(probabilities, target), f"{when},{protocol}")
        yield Metric("log loss", log_loss(probabilities, target), f"{when},{protocol}")
    yield Metric("temperature", fitted.temperature, f"before={start:.4g},bias={with_bias}")
    return replace(labeller, calibration=fitted)
