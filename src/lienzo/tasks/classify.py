"""`lienzo classify`: what pictures show, out of labels in words or by a trained probe."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.core.files import replacing
from lienzo.core.options import Options
from lienzo.core.text import printable

if TYPE_CHECKING:
    from lienzo.tasks.answers import Answers, Labeller
    from lienzo.tasks.labels import Label

SHEET = 60
"""Most pictures on a sheet."""


class Classify(Options):
    """Say what pictures show: probabilities over your labels, by a CLIP that was never trained on them.

    A label of one word works better inside a sentence (--templates) or with descriptions (--labels-file).
    """

    paths: tuple[str, ...] = Field((), json_schema_extra={"positional": True})
    """Pictures, or folders of them with all folders inside."""
    labels: str | None = None
    """Labels divided by commas; one with a comma goes in double quotes."""
    labels_file: Path | None = None
    """Text file with a label a line, or "label: description, description"."""
    probe: Path | None = None
    """A probe by lienzo probe, in place of labels."""
    clip: str | None = None
    """CLIP by name or file; default: the one that comes with Lienzo."""
    templates: str = "simple"
    """Sentences around a label: plain, photo, simple, drawing, imagenet, all, or a text file with {} in each line."""
    average: Literal["embeddings", "probabilities"] = "embeddings"
    """What is averaged over the templates."""
    unknown: str | None = None
    """When a picture is none of the labels: words for everything else, divided by commas; or the smallest cosine that
    counts as an answer, as 0.2."""
    top: int = Field(3, ge=1, json_schema_extra={"short": "-k"})
    """Answers shown for a picture."""
    temperature: float | None = Field(None, gt=0)
    """Larger is less sure; default: what the CLIP was trained to."""
    calibrate: str | None = None
    """Folder with a folder of pictures for each label: fits the temperature, so that 80 % means right in 8 of 10."""
    bias: bool = False
    """With --calibrate, fit how often each label occurs too."""
    csv: Path | None = None
    """CSV file for all probabilities."""
    sheet: Path | None = None
    """Picture file for a sheet of the pictures with their answers."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def run(options: Classify) -> Iterator[Event]:
    """Classify.

    Yields:
        Progress over pictures, Notes about broken ones, a Table of answers, and Metrics where the truth is known.

    Raises:
        BadInput: labels, files or options do not fit, or no picture can be read.
    """
    from lienzo.tasks.answers import answered, calibrated, pictures_at
    from lienzo.tasks.outputs import spare_inputs

    check(options)
    pictures = yield from pictures_at(options.paths)
    for flag, path in (("csv", options.csv), ("sheet", options.sheet)):
        spare_inputs(flag, path, (picture.path for picture in pictures))
    labeller = open_labeller(options)
    if len(labeller.labels) == 1 and labeller.least is None:
        yield Note("With one label every picture is that; give several, or --unknown.", "warning")
    if options.calibrate is not None:
        labeller = yield from calibrated(labeller, options.calibrate, options.bias)
        if not options.bias:
            yield Note(f"--temperature {labeller.calibration.temperature:.6g} gives the same again.")
    if not pictures:
        return
    answers = yield from answered(labeller, pictures)
    yield table(answers, options.top)
    yield from accuracy(answers, labeller.protocol)
    if options.csv is not None:
        write_csv(options.csv, answers)
        yield Note(f"All probabilities are in {options.csv}.")
    if options.sheet is not None:
        yield from write_sheet(options.sheet, answers, options.top)


def check(options: Classify) -> None:
    """Say at once what does not fit."""
    from lienzo.tasks.outputs import check_output

    if sum(given is not None for given in (options.labels, options.labels_file, options.probe)) != 1:
        raise BadInput("Give the labels in one way: --labels 'cat, dog', --labels-file FILE or --probe FILE.")
    if not options.paths and options.calibrate is None:
        raise BadInput("Name the pictures to classify, or a folder of them.")
    if options.probe is not None and options.unknown is not None:
        raise BadInput("--unknown compares pictures with words, and a probe has none; leave one of them out.")
    if options.bias and options.calibrate is None:
        raise BadInput("--bias is fitted with --calibrate FOLDER; give that too.")
    if options.calibrate is not None and options.temperature is not None:
        raise BadInput("--calibrate finds the temperature; leave --temperature out.")
    check_output("csv", options.csv)
    check_output("sheet", options.sheet, picture=True)


def open_labeller(options: Classify) -> Labeller:
    """The CLIP and the classifier over its vectors.

    Raises:
        BadInput: labels, probe or CLIP cannot be had, or do not fit.
    """
    from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
    from lienzo.clip.linear_probe import read_probe
    from lienzo.clip.templates import templates_of
    from lienzo.tasks.answers import probe_labeller, word_labeller
    from lienzo.tasks.devices import pick_device

    if options.probe is not None:
        probe = read_probe(options.probe)
        embedder = open_embedder(options.clip or probe.clip, pick_device(options.device), "image")
        return probe_labeller(embedder, probe, options.temperature)
    labels, least = wanted_labels(options)
    templates = templates_of(options.templates)
    embedder = open_embedder(options.clip or DEFAULT_CLIP, pick_device(options.device))
    return word_labeller(
        embedder, labels, templates, average=options.average, temperature=options.temperature, least=least
    )


def wanted_labels(options: Classify) -> tuple[tuple[Label, ...], float | None]:
    """The labels, with that of everything else if there is one, and the smallest cosine that counts.

    Raises:
        BadInput: they do not fit.
    """
    from lienzo.tasks.labels import UNKNOWN, background, folded, parse_labels, read_labels

    labels = parse_labels(options.labels or "") if options.labels_file is None else read_labels(options.labels_file)
    if options.unknown is None:
        return labels, None
    try:
        least = float(options.unknown)
    except ValueError:
        if any(folded(label.name) == UNKNOWN for label in labels):
            raise BadInput(f"--unknown adds the label '{UNKNOWN}', which is there already.") from None
        return (*labels, background(options.unknown)), None
    if not -1 <= least <= 1:
        raise BadInput(f"--unknown {options.unknown} is no cosine; those lie between -1 and 1.")
    return labels, least


def table(answers: Answers, top: int) -> Table:
    """A row a picture: its best labels with their probabilities."""
    count = min(top, len(answers.labels))
    columns = ["picture", "answer", "probability"]
    columns += [text for place in range(2, count + 1) for text in (f"answer {place}", f"probability {place}")]
    rows = []
    for row, file in enumerate(answers.files):
        cells = [printable(str(file))]
        for label, value in answers.best(row, count):
            cells += [label, number(value, 4)]
        rows.append((*cells, *[""] * (len(columns) - len(cells))))
    return Table("Answers", tuple(columns), tuple(rows))


def number(value: float, digits: int) -> str:
    """A probability as text; nothing for that of a picture below the smallest cosine."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def right_answers(answers: Answers) -> dict[int, bool]:
    """Whether the best label is that of the picture's folder, by row, where a folder names a label."""
    best = answers.probabilities.argmax(dim=1).tolist()
    return {
        row: answers.known[row] and best[row] == truth for row, truth in enumerate(answers.truth) if truth is not None
    }


def accuracy(answers: Answers, protocol: str) -> Iterator[Event]:
    """The share of right answers among pictures whose folder names a label, with its interval."""
    from lienzo.tasks.answers import share_of

    right = right_answers(answers)
    if right:
        yield share_of("accuracy", list(right.values()), f"{protocol},n={len(right)}")


def write_csv(path: Path, answers: Answers) -> None:
    """Picture, folder's label, best label, its probability, and the probability of every label."""
    with replacing(path) as work, work.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "folder", "answer", "probability", *(f"p({label})" for label in answers.labels)])
        for row, name in enumerate(answers.files):
            truth, ((label, value),) = answers.truth[row], answers.best(row, 1)
            values = [f"{each:.6f}" for each in answers.probabilities[row].tolist()]
            folder = "" if truth is None else answers.labels[truth]
            writer.writerow([str(name), folder, label, number(value, 6), *values])


def write_sheet(path: Path, answers: Answers, top: int) -> Iterator[Event]:
    """The first pictures with their answers as bars; green and red where the folder names the label."""
    from lienzo.imaging.answer_sheet import Answered, answer_sheet
    from lienzo.imaging.reading import load_picture
    from lienzo.imaging.writing import save_picture

    right = right_answers(answers)
    cells = [
        Answered(load_picture(file, at_least=256), answers.best(row, top), right.get(row))
        for row, file in enumerate(answers.files[:SHEET])
    ]
    save_picture(answer_sheet(cells), path, exist_ok=True)
    more = f"; it shows the first {SHEET} of {len(answers.files)}" if len(answers.files) > SHEET else ""
    yield Note(f"The sheet is {path}{more}.")
