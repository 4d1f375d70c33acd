"""Small grey pictures in memory, as MNIST and its kin are, shown in colour at the size that is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from lienzo.core.text import printable
from lienzo.data.fingerprints import fingerprint
from lienzo.data.sets import DataSet

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class GreyPictures:
    """Grey pictures (N, H, W) uint8 as RGB squares of `size` pixels.

    A picture up to a seventh smaller than the square keeps its pixels and gets a black border (28 in 32, as is the
    custom); others are scaled to the square.
    """

    grey: np.ndarray
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.grey), self.size, self.size, 3)

    def __len__(self) -> int:
        return len(self.grey)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        picked = self.grey[rows]
        single = picked.ndim == 2
        square = self._square(picked[None] if single else picked)  # (B, S, S)
        colour = np.repeat(square[..., None], 3, axis=-1)
        return colour[0] if single else colour

    def _square(self, picked: np.ndarray) -> np.ndarray:
        height, width = picked.shape[1:]
        longest = max(height, width)
        if longest <= self.size <= longest * 8 // 7:
            top, left = (self.size - height) // 2, (self.size - width) // 2
            rows, columns = (top, self.size - height - top), (left, self.size - width - left)
            return np.pad(picked, ((0, 0), rows, columns))
        square = np.zeros((len(picked), self.size, self.size), np.uint8)
        for place, image in zip(square, picked):
            scaled = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BICUBIC, reducing_gap=2.0)
            place[:] = np.asarray(scaled)
        return square


def grey_data(
    grey: np.ndarray, labels: np.ndarray | None, label_names: tuple[str, ...], size: int, *, name: str, title: str
) -> DataSet:
    """A data set of grey pictures (N, H, W) uint8; `name` begins each picture's name."""
    digits = len(str(len(grey)))
    enlarged = min(grey.shape[1:]) * 8 // 7 < size
    note = f"The pictures of {printable(title, 200)} are {grey.shape[2]} x {grey.shape[1]} pixels and were enlarged."
    return DataSet(
        images=GreyPictures(grey, size),
        names=tuple(f"{name}-{row:0{digits}}" for row in range(len(grey))),
        labels=labels,
        label_names=label_names,
        fingerprint=fingerprint(grey, np.array([] if labels is None else labels), label_names, [str(size)]),
        problems=(note,) if enlarged else (),
    )
