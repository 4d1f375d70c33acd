"""CelebAMask-HQ: faces of 1024 pixels with parts and attributes (Lee et al. 2020, arXiv:1907.11922).

The data are for non-commercial research and are not part of Lienzo; this reads a copy that someone has.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.data.annotations import first_that_exists, numbers_by_name, text_lines
from lienzo.data.fitting import Crop, Fit
from lienzo.data.folder import Split, check_split
from lienzo.data.listing import Listing
from lienzo.imaging.reading import Limits, open_picture, read_bytes

PARTS = tuple("skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r neck_l neck cloth"
              .split())  # fmt: skip
"""Names of the classes 1 to 18, in the order of painting: a later part covers an earlier one; 0 is the background."""
MASK_SIDE = 512
FOLDER_OF = 2_000
FIRST_VAL, FIRST_TEST = 162_771, 182_638
"""Numbers of CelebA's own pictures at which its partition begins anew."""
_IMAGES, _MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"


def is_celebamask(folder: Path) -> bool:
    """Whether a folder has the layout of CelebAMask-HQ."""
    return (folder / _IMAGES).is_dir()


class CelebAMaskHQ:
    """Faces, their parts and their attributes.

    Attributes:
        names: ``0.jpg`` to ``29999.jpg``, those of the split that are there, by number.
        attribute_names: the 40 of CelebA, or none without their file.
        attributes: (N, 40) bool, or None.
    """

    def __init__(self, folder: Path | str, split: Split = "train"):
        """
        Args:
            folder: holds ``CelebA-HQ-img`` and, where there are any, ``CelebAMask-HQ-mask-anno``,
                ``CelebAMask-HQ-attribute-anno.txt`` and ``CelebA-HQ-to-CelebA-mapping.txt``.
            split: by the partition of CelebA; all pictures are "train" where the mapping is missing.

        Raises:
            BadInput: there are no pictures, none of that split, or a file of annotations is broken.
        """
        self.folder = Path(folder)
        self.title = f"'{printable(str(folder), 200)}'"
        numbers = sorted(int(path.stem) for path in (self.folder / _IMAGES).glob("*.jpg") if path.stem.isdecimal())
        if not numbers:
            raise BadInput(f"{self.title} holds no pictures in {_IMAGES}.")
        splits = self._splits()
        check_split(self.title, split, set(splits.values()))
        chosen = [number for number in numbers if split == "all" or splits.get(number, "train") == split]
        self.names = tuple(f"{number}.jpg" for number in chosen)
        self._numbers = chosen

    def __len__(self) -> int:
        return len(self.names)

    def _splits(self) -> dict[int, str]:
        """The split of each picture's number, after the number that it has in CelebA."""
        path = self.folder / "CelebA-HQ-to-CelebA-mapping.txt"
        found = {}
        for number, line in enumerate(text_lines(path)[1:] if path.is_file() else [], 2):
            try:
                index, _, original = line.split()
                place = int(original.partition(".")[0])
                found[int(index)] = "train" if place < FIRST_VAL else "val" if place < FIRST_TEST else "test"
            except ValueError as error:
                raise BadInput(f"Line {number} of '{path.name}' needs two numbers and a file name.") from error
        return found

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:
        path = self.folder / "CelebAMask-HQ-attribute-anno.txt"
        return tuple(text_lines(path)[1].split()) if path.is_file() and len(text_lines(path)) > 1 else ()

    @cached_property
    def attributes(self) -> np.ndarray | None:
        if not self.attribute_names:
            return None
        path, count = self.folder / "CelebAMask-HQ-attribute-anno.txt", len(self.attribute_names)
        table = numbers_by_name(path, count, skip=2)
        missing = [name for name in self.names if name not in table]
        if missing:
            raise BadInput(f"'{path.name}' has no line for {missing[0]}.")
        return np.array([table[name] > 0 for name in self.names], bool).reshape(len(self), count)

    def item(self, index: int, size: int | None = None, crop: Crop = "centre") -> dict[str, Any]:
        """One face.

        Args:
            index: which, from 0.
            size: side of picture and parts in pixels; None leaves them at 1024 and 512.
            crop: as in `fitting.Fit`.

        Returns:
            ``name``; ``image`` uint8 (H, W, 3); ``mask`` uint8 (H, W) of numbers in `PARTS` + 1, or None where
            there are no masks; ``attributes`` bool (40,), or None.

        Raises:
            BadPicture: a picture cannot be read.
        """
        image = open_picture(self.folder / _IMAGES / self.names[index], at_least=size)
        mask = self.mask(index)
        if size is not None:
            fit = Fit(image.width, image.height, size, crop)
            mask = None if mask is None else fit.indices(mask)
        return {
            "name": self.names[index],
            "image": np.array(image) if size is None else fit.picture(image),
            "mask": mask,
            "attributes": None if self.attributes is None else self.attributes[index],
        }

    def mask(self, index: int) -> np.ndarray | None:
        """The parts of a face painted over each other: uint8 (512, 512), or None where there are no masks."""
        if not (self.folder / _MASKS).is_dir():
            return None
        number = self._numbers[index]
        mask: np.ndarray | None = None
        for value, part in enumerate(PARTS, 1):
            path = first_that_exists(self.folder / _MASKS, f"{number // FOLDER_OF}/{number:05}_{part}.png")
            if path is None:
                continue
            covered = np.asarray(open_picture(path, mode="L")) > 0
            mask = np.zeros(covered.shape, np.uint8) if mask is None else mask
            if mask.shape != covered.shape:
                raise BadInput(f"'{path.name}' has another size than the other parts of {self.names[index]}.")
            mask[covered] = value
        return np.zeros((MASK_SIDE, MASK_SIDE), np.uint8) if mask is None else mask

    def listing(self) -> Listing:
        """The pictures alone, for training that needs no parts."""
        paths = [self.folder / _IMAGES / name for name in self.names]

        def read(row: int) -> bytes:
            return read_bytes(paths[row], Limits.file_bytes)

        stamps = tuple((path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
        return Listing(title=self.title, names=self.names, read=read, stamps=stamps)
