"""Pictures at their own sizes, as measuring needs them: the resizing belongs to the measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.data.folder import Split
from lienzo.data.opening import source_of
from lienzo.data.sets import DataSet
from lienzo.imaging.reading import load_picture


@dataclass(frozen=True)
class NativePictures:
    """Pictures that are decoded when they are read.

    Attributes:
        names: a name for each.
        read: row to uint8 (H, W, 3); raises BadPicture.
        captions: of each, none or several; empty when no picture has any.
        labels: (N,) class of each, or None.
        label_names: the classes.
    """

    names: tuple[str, ...]
    read: Callable[[int], np.ndarray] = field(repr=False)
    captions: tuple[tuple[str, ...], ...] = ()
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def some(self, count: int | None) -> list[int]:
        """All rows, or `count` of them that follow from the names alone, in order."""
        if count is None or count >= len(self):
            return list(range(len(self)))
        return sorted(sorted(range(len(self)), key=lambda i: blake2b(self.names[i].encode()).digest())[:count])


def native_pictures(spec: str, size: int = 64, split: Split = "all") -> NativePictures:
    """The pictures of a folder, .zip, shards, IDX files or a corpus (see `opening.prepare_data`).

    Args:
        spec: where they are.
        size: side in pixels of pictures that have no files of their own: those of a corpus or of IDX files.
        split: of divided data.

    Raises:
        BadInput: there is nothing to read.
    """
    source = source_of(spec, size, split)
    if isinstance(source, DataSet):
        read: Callable[[int], np.ndarray] = lambda row: source.images[np.array([row])][0]  # noqa: E731
    else:
        read = lambda row: load_picture(source.read(row))  # noqa: E731
    if not len(source):
        raise BadInput(f"There are no pictures in '{spec}'.")
    return NativePictures(source.names, read, source.captions, source.labels, source.label_names)
