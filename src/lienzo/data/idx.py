"""IDX files: the format of MNIST and Fashion-MNIST (Yann LeCun's database page; Xiao et al. 2017, arXiv:1708.07747)."""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from pathlib import Path

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.data.folder import check_split
from lienzo.data.grey import DIGITS, grey_data
from lienzo.data.sets import DataSet
from lienzo.data.trees import FileTree

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
MAX_BYTES = 2**32
_FILE = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")


def is_idx(tree: FileTree) -> bool:
    """Whether pictures in IDX files lie at the root."""
    return any((match := _FILE.fullmatch(path)) and match[2] == "images" for path in tree.files)


def idx_data(tree: FileTree, size: int, split: str = "train", title: str = "") -> DataSet:
    """The pictures of ``train-images-idx3-ubyte`` or ``t10k-…``, with or without ``.gz``, in RGB, and their classes.

    Args:
        tree: the folder they lie in.
        size: side of the pictures in pixels.
        split: "train", "test", or "all".
        title: the folder's path; where its last two names say "fashion", or a file beside does, the classes have
            Fashion-MNIST's names, else they are numbers.

    Raises:
        BadInput: a file is broken or too large, pictures and labels differ in number, or the split is not there.
    """
    files = {(_split_of(match[1]), match[2]): path for path in tree.files if (match := _FILE.fullmatch(path))}
    present = {of for of, kind in files if kind == "images"}
    check_split(tree.title, split, present)
    splits = sorted(present, reverse=True) if split == "all" else [split]
    images = [_array(tree, files[of, "images"], 3) for of in splits]
    if len({array.shape[1:] for array in images}) > 1:
        raise BadInput(f"The splits of {tree.title} have pictures of different sizes; choose one split.")
    labelled = all((of, "labels") in files for of in splits)
    labels = [_array(tree, files[of, "labels"], 1) for of in splits] if labelled else []
    for of, some, classes in zip(splits, images, labels):
        if len(some) != len(classes):
            raise BadInput(f"{tree.title} has {len(some)} pictures but {len(classes)} labels for '{of}'.")
    grey = np.concatenate(images)
    if not grey.size:
        raise BadInput(f"{tree.title} holds no pictures.")
    known = np.concatenate(labels).astype(np.int64) if labelled else None
    names = _class_names(tree, title, known) if known is not None else ()
    return grey_data(grey, known, names, size, name=split, title=tree.title)


def _split_of(prefix: str) -> str:
    return "train" if prefix == "train" else "test"


def _class_names(tree: FileTree, title: str, labels: np.ndarray) -> tuple[str, ...]:
    """Ten names at least, for a class may be missing from a part of the data."""
    count = max(len(DIGITS), int(labels.max()) + 1)
    if count == len(FASHION) and any("fashion" in text.lower() for text in (*Path(title).parts[-2:], *tree.files)):
        return FASHION
    return tuple(map(str, range(count)))


def _array(tree: FileTree, path: str, dimensions: int) -> np.ndarray:
    """The uint8 array in an IDX file of that many dimensions."""
    name = printable(path, 100)
    packed = tree.read(path, MAX_BYTES)
    stream: io.BufferedIOBase = io.BytesIO(packed)
    if packed[:2] == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=stream)
    try:
        head = stream.read(4 + 4 * dimensions)
        if head[:4] != bytes((0, 0, 8, dimensions)) or len(head) < 4 + 4 * dimensions:
            raise BadInput(f"'{name}' is not an IDX file of bytes in {dimensions} dimensions.")
        shape = tuple(np.frombuffer(head, ">u4", offset=4).tolist())
        length = math.prod(shape)
        if length > MAX_BYTES:
            raise BadInput(f"'{name}' announces {length} bytes; at most {MAX_BYTES} are read.")
        content = stream.read(length)
    except (EOFError, OSError, zlib.error) as error:
        raise BadInput(f"'{name}' cannot be unpacked ({printable(str(error), 100)}).") from error
    if len(content) != length:
        raise BadInput(f"'{name}' is cut off: {len(content)} of {length} bytes.")
    return np.frombuffer(content, np.uint8).reshape(shape)
