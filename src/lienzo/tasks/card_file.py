"""card.json: the figures of one or more models with their protocols, and how earlier ones join."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable
from lienzo.metrics.protocol import Protocol, comparable

if TYPE_CHECKING:
    from lienzo.metrics.protocol import Score

VERSION = 1
Corner = Literal["quality", "coverage", "speed"]


@dataclass(frozen=True)
class Column:
    """One figure of the card: which corner of the trilemma it belongs to, and which end of it is the good one."""

    name: str
    corner: Corner
    heading: str
    better: Literal["low", "high"]
    meaning: str


COLUMNS = (
    Column("fid", "quality", "FID", "low", "distance of two Gaussians fitted to the features"),
    Column("kid", "quality", "KID", "low", "squared distance by a polynomial kernel, unbiased"),
    Column("cmmd", "quality", "CMMD", "low", "squared distance by a Gaussian kernel between CLIP embeddings, x 1000"),
    Column("precision", "quality", "precision", "high", "share of generated pictures close to a real one"),
    Column("density", "quality", "density", "high", "how many real pictures a generated one is close to, over k"),
    Column("clip_score", "quality", "CLIP score", "high", "how well pictures fit their sentences, by CLIP"),
    Column("recall", "coverage", "recall", "high", "share of real pictures close to a generated one"),
    Column(
        "coverage",
        "coverage",
        "coverage",
        "high",
        "share of real pictures that have a generated one nearby",
    ),
    Column("modes_hit", "coverage", "classes hit", "high", "classes that a classifier finds in the pictures"),
    Column("label_kl", "coverage", "KL of classes", "low", "KL(generated || real) of the classes' shares, in nats"),
    Column("bits_per_dim", "coverage", "bits/dim", "low", "bits a number of a real picture, upper bound"),
    Column("seconds_1", "speed", "s/picture", "low", "seconds for one picture, alone"),
    Column("seconds_16", "speed", "s/picture of 16", "low", "seconds a picture, 16 at once"),
    Column("evaluations", "speed", "evaluations", "low", "how often the network runs for a picture"),
    Column("parameters", "speed", "parameters", "low", "numbers in the generating network"),
    Column("file_mb", "speed", "files, MB", "low", "size of all files that drawing needs"),
    Column("peak_mb_1", "speed", "memory, MB", "low", "peak memory of one picture"),
    Column("peak_mb_16", "speed", "memory of 16, MB", "low", "peak memory of 16 at once"),
)
COLUMN = {column.name: column for column in COLUMNS}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Figure(_Strict):
    """A measured number."""

    name: str
    """A name of `COLUMNS`."""
    value: FiniteFloat
    interval: tuple[FiniteFloat, FiniteFloat] | None = None
    """95 % by bootstrap; of times, the lowest and the highest."""
    protocol: str
    """How it was measured."""
    notes: tuple[str, ...] = ()


class Facts(_Strict):
    """What the model's file says of itself."""

    title: str = ""
    description: str = ""
    licence: str = ""
    training_data: tuple[str, ...] = ()
    limits: str = ""
    made_with: str = ""


class Entry(_Strict):
    """One model."""

    label: str
    """Its name in tables and plots, and of its files."""
    network: str
    sha256: str
    files: tuple[str, ...]
    """Names of all model files that drawing needs."""
    settings: dict[str, str | int | float]
    """What decides its pictures besides prompts and seeds."""
    prompts: str
    """What it drew: none, or captions, file or classes with a digest."""
    command: str
    """What measures it again."""
    facts: Facts
    samples: str = ""
    """Name of its sample sheet beside this file."""
    figures: tuple[Figure, ...]

    def figure(self, name: str) -> Figure | None:
        """A figure by its name, or None."""
        return next((each for each in self.figures if each.name == name), None)


class Real(_Strict):
    """The real pictures."""

    given: str
    digest: str
    """Over the pixels of those that were used, in order."""
    pictures: int
    classes: tuple[str, ...] = ()
    """Those that are counted as modes."""
    others: tuple[Figure, ...] = ()
    """What as many other real pictures score, where there are enough: no model does better but by chance."""

    def figure(self, name: str) -> Figure | None:
        """What as many other real pictures score, or None."""
        return next((each for each in self.others if each.name == name), None)


class CardFile(_Strict):
    """All of card.json."""

    version: Literal[1]
    made_with: str
    real: Real
    models: tuple[Entry, ...]


def as_figure(score: Score, **more: object) -> Figure:
    """A score as the card keeps it, with further fields in its protocol."""
    protocol = Protocol.of(score.protocol.name, dict(score.protocol.fields), more)
    return Figure(
        name=score.name, value=score.value, interval=score.interval, protocol=str(protocol), notes=score.notes
    )


def read_card_file(path: Path) -> CardFile:
    """What `write_card_file` wrote.

    Raises:
        BadInput: the file is no card, or of a newer Lienzo.
    """
    name = printable(str(path), 100)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"'{name}' is not a card.json that lienzo card wrote.") from error
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise BadInput(f"'{name}' was written by a newer Lienzo (its version is {version}).")
    try:
        card = CardFile.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"'{name}' is not a card.json that lienzo card wrote.") from error
    for entry in card.models:
        if entry.label != file_name(entry.label) or entry.samples not in ("", f"{entry.label}.png"):
            raise BadInput(f"'{name}' names a model '{printable(entry.label, 40)}', which cannot be a file's name.")
        for figure in entry.figures:
            Protocol.parse(figure.protocol)
    return card


def write_card_file(path: Path, card: CardFile) -> None:
    """Write it whole or not at all."""
    with replacing(path) as work:
        work.write_text(card.model_dump_json(indent=1) + "\n", "utf-8")


def file_name(label: str) -> str:
    """A label with which a file can be named."""
    return re.sub(r"[^\w.+-]+", "-", label, flags=re.ASCII).strip("-.")[:80] or "model"


def joined(entries: Sequence[Entry], new: Entry) -> list[Entry]:
    """The models with one more; it replaces its own earlier figures, and gets a label that no other has."""
    kept = [entry for entry in entries if not same_model(entry, new)]
    taken, label, count = {entry.label for entry in kept}, new.label, 1
    while label in taken:
        count += 1
        label = f"{new.label}-{count}"
    return [*kept, new if label == new.label else new.model_copy(update={"label": label})]


def same_model(a: Entry, b: Entry) -> bool:
    """Whether both are one file, drawing with the same settings the same things."""
    return (a.sha256, a.settings, a.prompts) == (b.sha256, b.settings, b.prompts)


def check_comparable(entries: Iterable[Entry]) -> None:
    """Pass where all figures may stand side by side.

    Raises:
        BadInput: two models' figures were measured differently; the sentence says how.
    """
    for a, b in combinations(entries, 2):
        for figure in a.figures:
            other = b.figure(figure.name)
            if other is not None:
                _check(a, b, figure, other)
        if _prompt_family(a) == _prompt_family(b) != "none" and a.prompts != b.prompts:
            raise BadInput(f"'{a.label}' and '{b.label}' drew different prompts: they cannot be compared.")


def _check(a: Entry, b: Entry, first: Figure, second: Figure) -> None:
    try:
        comparable(Protocol.parse(first.protocol), Protocol.parse(second.protocol))
    except BadInput as error:
        raise BadInput(f"'{a.label}' and '{b.label}' do not fit on one card: {error}") from error


def _prompt_family(entry: Entry) -> str:
    kind = entry.prompts.partition(":")[0]
    return kind if kind in ("none", "classes") else "sentences"
