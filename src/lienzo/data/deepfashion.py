"""DeepFashion-MultiModal: people in clothes with parts, keypoints, attributes and captions (Jiang et al. 2022,
arXiv:2205.15996).

The data are for non-commercial research and are not part of Lienzo; this reads a copy that someone has.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.data.annotations import first_that_exists, numbers_by_name, text_lines
from lienzo.data.captions_beside import texts_in
from lienzo.data.fitting import Crop, Fit
from lienzo.data.folder import Split, check_split
from lienzo.data.listing import Listing
from lienzo.data.splits import split_of
from lienzo.imaging.reading import Limits, load_indices, open_picture, read_bytes

PARTS = (
    "background", "top", "outer", "skirt", "dress", "pants", "leggings", "headwear", "eyeglass", "neckwear", "belt",
    "footwear", "bag", "hair", "face", "skin", "ring", "wrist wearing", "socks", "gloves", "necklace", "rompers",
    "earrings", "tie",
)  # fmt: skip
"""Names of the classes 0 to 23 of the parsing."""
SHAPE = (
    "sleeve length", "lower clothing length", "socks", "hat", "glasses", "neckwear", "wrist wearing", "ring",
    "waist accessories", "neckline", "outer clothing a cardigan", "upper clothing covering navel",
)  # fmt: skip
FABRIC = ("denim", "cotton", "leather", "furry", "knitted", "chiffon", "other", "NA")
COLOR = ("floral", "graphic", "striped", "pure color", "lattice", "other", "color block", "NA")
POINTS = 21
_IMAGES = ("images", "image")
_PARSING = ("segm", "parsing")
_DENSEPOSE = ("densepose", "DensePose")
_PERSON = re.compile(r"^(.*?id_\d+)")


def is_deepfashion(folder: Path) -> bool:
    """Whether a folder has the layout of DeepFashion-MultiModal."""
    marks = ("keypoints/keypoints_loc.txt", "labels/shape/shape_anno_all.txt", "captions.json", *_PARSING, *_DENSEPOSE)
    return first_that_exists(folder, *_IMAGES) is not None and first_that_exists(folder, *marks) is not None


class DeepFashion:
    """Pictures of people and what is annotated of each.

    The published data have no splits; here 80, 10 and 10 of a hundred ids, by a hash of the id in the file name, are
    "train", "val" and "test", so that pictures of one outfit stay together.

    Attributes:
        names: file names of the split's pictures, sorted.
    """

    def __init__(self, folder: Path | str, split: Split = "train"):
        """
        Args:
            folder: holds ``images`` and any of ``segm``, ``densepose``, ``keypoints``, ``labels``, ``captions.json``.
            split: which pictures.

        Raises:
            BadInput: there are no pictures, or none of that split.
        """
        self.folder = Path(folder)
        self.title = f"'{printable(str(folder), 200)}'"
        images = first_that_exists(self.folder, *_IMAGES)
        names = sorted(path.name for path in images.glob("*.jpg")) if images else []
        if images is None or not names:
            raise BadInput(f"{self.title} holds no pictures in images.")
        self._images = images
        splits = {name: split_of(_person(name)) for name in names}
        check_split(self.title, split, set(splits.values()))
        self.names = tuple(name for name in names if split in ("all", splits[name]))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def captions(self) -> dict[str, list[str]]:
        """Sentences by picture."""
        path = self.folder / "captions.json"
        if not path.is_file():
            return {}
        try:
            values = json.loads("\n".join(text_lines(path)))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"'captions.json' is not JSON ({error}).") from error
        if not isinstance(values, dict):
            raise BadInput('\'captions.json\' needs the form {"NAME.jpg": "a sentence", …}.')
        return {name: texts_in(texts) for name, texts in values.items()}

    @cached_property
    def _tables(self) -> dict[str, dict[str, np.ndarray]]:
        def table(count: int, dtype: type, *choices: str) -> dict[str, np.ndarray]:
            path = first_that_exists(self.folder, *choices)
            return {} if path is None else numbers_by_name(path, count, dtype)

        return {
            "keypoints": table(2 * POINTS, np.float32, "keypoints/keypoints_loc.txt"),
            "visibility": table(POINTS, np.int64, "keypoints/keypoints_vis.txt"),
            "shape": table(len(SHAPE), np.int64, "labels/shape/shape_anno_all.txt", "labels/shape_anno_all.txt"),
            "fabric": table(3, np.int64, "labels/texture/fabric_ann.txt", "labels/fabric_ann.txt"),
            "color": table(3, np.int64, "labels/texture/pattern_ann.txt", "labels/pattern_ann.txt"),
        }

    def item(self, index: int, size: int | None = None, crop: Crop = "centre") -> dict[str, Any]:
        """One picture; what is not annotated is None.

        Args:
            index: which, from 0.
            size: side in pixels that picture, maps and points are fitted to; None leaves them as stored (about
                750 x 1101).
            crop: "pad" keeps head and feet; see `fitting.Fit`.

        Returns:
            ``name``; ``image`` uint8 (H, W, 3); ``parsing`` uint8 (H, W) of numbers in `PARTS`; ``densepose`` uint8
            (H, W, 3); ``keypoints`` float32 (21, 2) of x and y, -1 where absent; ``visibility`` int64 (21,): 0
            visible, 1 hidden, 2 absent; ``shape`` int64 (12,); ``fabric`` and ``color`` int64 (3,) of upper, lower
            and outer clothing; ``caption``, a text.

        Raises:
            BadInput: a picture or a file of annotations cannot be read.
        """
        name = self.names[index]
        image = open_picture(self._images / name)
        fit = None if size is None else Fit(image.width, image.height, size, crop)
        rows = {key: table.get(name) for key, table in self._tables.items()}
        points = rows["keypoints"]
        if points is not None:
            points = _placed(points.reshape(POINTS, 2), fit)
        return {
            "name": name,
            "image": fit.picture(image) if fit else np.array(image),
            "parsing": self._parsing(name, fit),
            "densepose": self._densepose(name, fit),
            **rows,
            "keypoints": points,
            "caption": next(iter(self.captions.get(name, [])), None),
        }

    def _parsing(self, name: str, fit: Fit | None) -> np.ndarray | None:
        path = self._beside(name, _PARSING, "_segm.png")
        classes = None if path is None else load_indices(path)
        return fit.indices(classes) if fit and classes is not None else classes

    def _densepose(self, name: str, fit: Fit | None) -> np.ndarray | None:
        path = self._beside(name, _DENSEPOSE, "_densepose.png")
        if path is None:
            return None
        channels = np.moveaxis(np.array(open_picture(path)), -1, 0)  # (3, H, W)
        fitted = [fit.indices(np.ascontiguousarray(channel)) for channel in channels] if fit else list(channels)
        return np.stack(fitted, -1)

    def _beside(self, name: str, folders: tuple[str, ...], ending: str) -> Path | None:
        stem = name.rpartition(".")[0]
        return first_that_exists(
            self.folder, *(f"{folder}/{stem}{end}" for folder in folders for end in (ending, ".png"))
        )

    def listing(self) -> Listing:
        """The pictures with their captions, for training that needs nothing else."""
        paths = [self._images / name for name in self.names]
        captions = tuple(tuple(self.captions.get(name, ())) for name in self.names)

        def read(row: int) -> bytes:
            return read_bytes(paths[row], Limits.file_bytes)

        stamps = tuple((path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
        return Listing(self.title, self.names, read, stamps, captions if any(captions) else ())


def _person(name: str) -> str:
    """The part of a file name up to its id, as ``MEN-Denim-id_00000080``."""
    match = _PERSON.match(name)
    return match[1] if match else name


def _placed(points: np.ndarray, fit: Fit | None) -> np.ndarray:
    present = (points >= 0).all(1, keepdims=True)
    return np.where(present, fit.points(points) if fit else points, -1).astype(np.float32)
