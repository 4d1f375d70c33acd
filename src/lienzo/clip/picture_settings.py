"""How a CLIP wants its pictures, from the processor's file beside its weights, or as its family does."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lienzo.clip.picture_input import Filter, PictureInput, Shape
from lienzo.core.errors import BadWeights
from lienzo.weights.beside import OPEN_CLIP, read_json

PROCESSOR = "preprocessor_config.json"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
_RESAMPLE: dict[Any, Filter] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_INTERPOLATION: dict[Any, Filter] = {"bicubic": "bicubic", "bilinear": "bilinear"}
_MODES: dict[Any, Shape] = {"shortest": "crop", "squash": "squash"}


@dataclass(frozen=True)
class PictureSettings:
    """What is done to a picture before the tower.

    Args:
        prepare: to the tower's square, in bytes.
        mean: of each channel, subtracted from values in [0, 1].
        std: of each channel, which then divides.
    """

    prepare: PictureInput
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def tag(self) -> str:
        """A short name of all of it."""
        return f"{self.prepare.tag}-{zlib.crc32(repr((self.mean, self.std)).encode()):08x}"


def settings_beside(path: Path, keys: Iterable[str], family: str, size: int) -> PictureSettings:
    """The settings of a weight file.

    Args:
        path: the weight file; `preprocessor_config.json` (Hugging Face) or `open_clip_config.json` may lie beside it.
        keys: names of its tensors, which tell whose file counts.
        family: `clip` (middle square, CLIP's mean) or `siglip` (squashed, [-1, 1]) for what no file says.
        size: side of the tower's pictures.

    Raises:
        BadWeights: a file there makes no sense.
    """
    crop, mean, std = ("crop", CLIP_MEAN, CLIP_STD) if family == "clip" else ("squash", HALF, HALF)
    given: dict[str, Any] = {"shape": crop, "filter": "bicubic", "mean": mean, "std": std}
    if any(key.startswith("vision_model.") for key in keys):
        given |= _from_hugging_face(read_json(path.with_name(PROCESSOR)) or {}, given)
    else:
        given |= _from_open_clip((read_json(path.with_name(OPEN_CLIP)) or {}).get("preprocess_cfg") or {}, given)
    prepare = PictureInput(size, given["shape"], given["filter"])
    return PictureSettings(prepare, _three(given["mean"]), _deviations(given["std"]))


def _from_hugging_face(file: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    cropped = file.get("do_center_crop", usual["shape"] == "crop")
    return {
        "shape": "crop" if cropped else "squash",
        "filter": _known(_RESAMPLE, file.get("resample", 3), "resample"),
        "mean": file.get("image_mean", usual["mean"]),
        "std": file.get("image_std", usual["std"]),
    }


def _from_open_clip(file: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    mode = {"crop": "shortest"}.get(usual["shape"], "squash")
    return {
        "shape": _known(_MODES, file.get("resize_mode", mode), "resize_mode"),
        "filter": _known(_INTERPOLATION, file.get("interpolation", "bicubic"), "interpolation"),
        "mean": file.get("mean", usual["mean"]),
        "std": file.get("std", usual["std"]),
    }


def _known(table: dict[Any, Any], value: Any, name: str) -> Any:
    if not isinstance(value, str | int) or value not in table:
        choices = ", ".join(str(choice) for choice in table)
        raise BadWeights(f"The picture settings beside the weights have an unknown {name}; known are {choices}.")
    return table[value]


def _three(values: Any) -> tuple[float, ...]:
    fits = isinstance(values, list | tuple) and len(values) == 3
    if not fits or not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise BadWeights("The picture settings beside the weights need three numbers for mean and deviation.")
    return tuple(float(value) for value in values)


def _deviations(values: Any) -> tuple[float, ...]:
    std = _three(values)
    if min(std) <= 0:
        raise BadWeights("The picture settings beside the weights have a deviation that is not above 0.")
    return std
