"""Whole checkpoints of Stable Diffusion among all that --model can name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lienzo.diffusion.ldm_shapes import PREFIX as UNET
from lienzo.diffusion.sd_parts import TEXT, other_family
from lienzo.tasks.hub_pipelines import find_pipeline
from lienzo.weights.hub import PIPELINE_INDEX
from lienzo.weights.models import KEY
from lienzo.weights.places import HUB, models_folder, sha256
from lienzo.weights.reading import read_weights

PARTS = ("unet", "vae", "text_encoder", "scheduler")
_KEPT = (".json", ".safetensors", ".bin")


def find_folder(name: str, native: bool) -> Path | None:
    """The folder of diffusers that Lienzo opens by its own networks; None where `name` is none.

    Args:
        name: of `create`'s --model.
        native: take it even where diffusers itself could open it, which its index tells.

    Raises:
        BadInput: it is of the hub and cannot be had.
    """
    if name.startswith(HUB):
        source = find_pipeline(name) if native else None
        return None if source is None else source.folder
    for folder in (models_folder() / name, Path(name).expanduser()):
        if (folder / "unet").is_dir():
            return folder if native or not (folder / PIPELINE_INDEX).is_file() else None
    return None


def is_checkpoint(path: Path) -> bool:
    """Whether a weight file is a whole checkpoint with its names, of Stable Diffusion or of a relative.

    Of a relative too, so that the sentence that refuses it can say which.

    Raises:
        BadWeights: the file cannot be read.
    """
    weights = read_weights(path)
    if KEY in weights.metadata:
        return False
    return any(key.startswith((UNET, TEXT)) or other_family(key) is not None for key in weights.tensors)


def files_of(path: Path) -> list[Path]:
    """The files of a model, one or those of a folder of diffusers."""
    if path.is_file():
        return [path]
    there = [file for part in PARTS for file in sorted((path / part).glob("*"))]
    return [file for file in there if file.suffix in _KEPT and file.is_file()]


def digest_of(path: Path) -> str:
    """What tells the files of a model, one or a folder of diffusers, from all others."""
    if path.is_file():
        return sha256(path)
    total = hashlib.sha256()
    for file in files_of(path):
        total.update(f"{file.parent.name}/{file.name} {sha256(file)}\n".encode())
    return total.hexdigest()
