"""Captions that lie beside the pictures: a text file for each, or one table for all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.data.listing import count_of
from lienzo.data.trees import FileTree

MAX_SIDECAR = 2**20
MAX_TABLE = 512 * 2**20
MAX_CAPTION = 2_000
_COLUMNS = ("text", "caption", "captions")


def captions_beside(
    tree: FileTree, pictures: Sequence[str], roots: Sequence[str] = ("",)
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Captions by picture, and sentences about what does not fit together.

    A table ``metadata.csv``, ``metadata.jsonl`` or another ``.jsonl`` at a root names pictures in its column
    ``file_name``, relative to itself, and says what they show in ``text``, ``caption`` or ``captions`` (a list), as
    the imagefolder of the datasets library has it. ``NAME.txt`` beside ``NAME.png`` has a caption a line.

    Args:
        tree: where to look.
        pictures: paths of all pictures.
        roots: folders that may have a table, each empty or ending in ``/``.

    Raises:
        BadInput: a table cannot be read.
    """
    found: dict[str, list[str]] = {path: [] for path in pictures}
    problems: list[str] = []
    for root in roots:
        for table in _tables(tree, root):
            _take_table(tree, root, table, found, problems)
    _take_sidecars(tree, pictures, found, problems)
    captions = {path: tuple(dict.fromkeys(texts)) for path, texts in found.items()}
    silent = [path for path, texts in captions.items() if not texts]
    if silent and len(silent) < len(captions):
        problems.append(f"{count_of(silent, 'picture', 'has', 'have')} no caption, while others have.")
    return captions, problems


def texts_in(value: Any) -> list[str]:
    """The captions in a JSON value: a text, a list of texts, or texts by language, of which the English are taken."""
    if isinstance(value, dict):
        value = value.get("en")
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    clean = (printable(text.strip(), MAX_CAPTION).strip() for text in texts if isinstance(text, str))
    return [text for text in clean if text]


def lines_of(content: bytes) -> list[str]:
    """The captions in a text file, one a line."""
    return texts_in(content.decode("utf-8-sig", "replace").splitlines())


def _tables(tree: FileTree, root: str) -> list[str]:
    named = [path for path in (f"{root}metadata.csv", f"{root}metadata.jsonl") if path in tree.files]
    if named:
        return named
    inside = (path for path in tree.files if path.startswith(root) and path.endswith(".jsonl"))
    return [path for path in inside if "/" not in path.removeprefix(root) and _is_table(tree, path)]


def _is_table(tree: FileTree, path: str) -> bool:
    """Whether the first line of a .jsonl is about a file; other logs may lie about."""
    try:
        first = json.loads(tree.read(path, MAX_TABLE).lstrip().partition(b"\n")[0])
    except (BadInput, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "file_name" in first


def _take_table(tree: FileTree, root: str, table: str, found: dict[str, list[str]], problems: list[str]) -> None:
    rows = _csv_rows(tree, table) if table.endswith(".csv") else _json_rows(tree, table)
    missing = []
    for name, texts in rows:
        path = root + name.replace("\\", "/").removeprefix("./")
        if path in found:
            found[path].extend(texts)
        else:
            missing.append(name or "a row without a name")
    if missing:
        problems.append(f"{table} speaks of {count_of(missing, 'picture')} that cannot be found.")


def _text(tree: FileTree, path: str) -> str:
    try:
        return tree.read(path, MAX_TABLE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"'{printable(path)}' is not UTF-8 text; save it as UTF-8.") from error


def _csv_rows(tree: FileTree, path: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.DictReader(io.StringIO(_text(tree, path), newline=""))
    try:
        columns = reader.fieldnames or ()
        if "file_name" not in columns or not set(_COLUMNS) & set(columns):
            raise BadInput(f"'{printable(path)}' needs the columns file_name and text (or caption).")
        for row in reader:
            yield row["file_name"] or "", texts_in([row.get(column) for column in _COLUMNS])
    except csv.Error as error:
        raise BadInput(f"Line {reader.line_num + 1} of '{printable(path)}' cannot be read ({error}).") from error


def _json_rows(tree: FileTree, path: str) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(_text(tree, path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"Line {number} of '{printable(path)}' is not JSON ({error}).") from error
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise BadInput(f'Line {number} of \'{printable(path)}\' needs the form {{"file_name": …, "text": …}}.')
        yield row["file_name"], [text for column in _COLUMNS for text in texts_in(row.get(column))]


def _take_sidecars(tree: FileTree, pictures: Sequence[str], found: dict[str, list[str]], problems: list[str]) -> None:
    by_stem: dict[str, list[str]] = {}
    for picture in pictures:
        by_stem.setdefault(picture.rpartition(".")[0], []).append(picture)
    alone = []
    for path in tree.files:
        if not path.lower().endswith(".txt"):
            continue
        beside = by_stem.get(path[:-4])
        if beside is None:
            alone.append(path)
            continue
        try:
            texts = lines_of(tree.read(path, MAX_SIDECAR))
        except BadInput as error:
            problems.append(f"{printable(path)}: {error}")
            continue
        for picture in beside:
            found[picture].extend(texts)
    if alone:
        problems.append(f"{count_of(alone, 'text file', 'has', 'have')} no picture beside it.")
