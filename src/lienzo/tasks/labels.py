"""Labels as a person writes them: a line of them, or a file with descriptions."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lienzo.clip.templates import read_lines
from lienzo.core.errors import BadInput
from lienzo.core.text import printable

MAX_LABELS = 10_000
MAX_LENGTH = 1000
UNKNOWN = "unknown"


class Label(NamedTuple):
    """A class: what it is called, and the texts that stand for it."""

    name: str
    texts: tuple[str, ...]


def parse_labels(line: str) -> tuple[Label, ...]:
    """Labels divided by commas; one with a comma in it is put in double quotes.

    Raises:
        BadInput: none, an empty or overlong one, a quote that is not closed, or one label twice.
    """
    return _checked(Label(name, (name,)) for name in _parts(line))


def read_labels(path: Path) -> tuple[Label, ...]:
    """Labels of a file, one a line: ``label`` or ``label: description, description``.

    A class with descriptions is what they say; its label is then only its name. Empty lines and those that begin
    with # are passed over. A label with a colon and a description with a comma are put in double quotes.

    Raises:
        BadInput: as `parse_labels`, or the file cannot be read.
    """
    lines = [line.strip() for line in read_lines(path, "labels")]
    return _checked(_described(line) for line in lines if line and not line.startswith("#"))


def background(text: str) -> Label:
    """The class of everything else, from its texts divided by commas."""
    return Label(UNKNOWN, tuple(_clean(part) for part in _parts(text)))


def folded(name: str) -> str:
    """How labels and names of folders are compared: without case, _ and - as spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())


def _described(line: str) -> Label:
    if line.startswith('"') and '"' in line[1:]:
        name, _, rest = line[1:].partition('"')
        colon, descriptions = rest.lstrip().startswith(":"), rest.lstrip().removeprefix(":")
        if rest.strip() and not colon:
            raise BadInput(f"The line {printable(line, 100)!r} has something after its quoted label that is no colon.")
    else:
        name, mark, descriptions = line.partition(":")
        colon = bool(mark)
    if not colon:
        return Label(name, (name,))
    return Label(name, tuple(_parts(descriptions)))


def _parts(text: str) -> list[str]:
    """Text divided at commas outside double quotes."""
    try:
        rows = list(csv.reader([" ".join(text.split())], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise BadInput(f"The labels {printable(text, 100)!r} have a quote that is not closed.") from error
    return rows[0] if rows else []


def _clean(text: str) -> str:
    """One line without control characters. Raises BadInput when nothing or too much is left."""
    clean = printable(unicodedata.normalize("NFC", text), MAX_LENGTH + 1).strip()
    if not clean:
        raise BadInput("One of the labels is empty; give words for each, divided by commas.")
    if len(clean) > MAX_LENGTH:
        raise BadInput(f"The label '{clean[:40]}…' is longer than {MAX_LENGTH} letters.")
    return clean


def _checked(labels: Iterable[Label]) -> tuple[Label, ...]:
    found: dict[str, Label] = {}
    for label in labels:
        name = _clean(label.name)
        if not label.texts:
            raise BadInput(f"The label '{printable(name, 100)}' has a colon but no description after it.")
        if folded(name) in found:
            raise BadInput(f"The label '{printable(name, 100)}' is there twice.")
        found[folded(name)] = Label(name, tuple(_clean(text) for text in label.texts))
        if len(found) > MAX_LABELS:
            raise BadInput(f"There are more than {MAX_LABELS} labels.")
    if not found:
        raise BadInput("There are no labels; give some, as --labels 'cat, dog, human'.")
    return tuple(found.values())
