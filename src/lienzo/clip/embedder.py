"""A CLIP as something that gives pictures and texts their vectors, each tower loaded only when it is needed.

Every CLIP that Lienzo opens becomes one of two embedders. A compact CLIP reads texts with numpy alone, so that a
search begins before torch could be imported; others run in torch (`tower_embedder`). This module is free of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from lienzo.clip.numpy_text import NumpyText
from lienzo.clip.picture_input import PictureInput
from lienzo.core.errors import BadInput, BadWeights
from lienzo.weights.arrays import Arrays
from lienzo.weights.places import resolve, sha256, weights_digest

if TYPE_CHECKING:
    import torch

DEFAULT_CLIP = "judge"
Towers = Literal["both", "text", "image"]
PictureTower = Callable[[np.ndarray], np.ndarray]


class Embedder(Protocol):
    """A CLIP as `open_embedder` gives it.

    Attributes:
        tag: names weights and preprocessing; vectors of different tags cannot be compared, but for those in `former`.
        former: tags that the same CLIP had in older versions of Lienzo.
        dim: length D of the vectors.
        size: side in pixels of the square that the picture tower reads.
        scale: what the network multiplies cosines by before a softmax, or a sigmoid.
        bias: what it adds then; 0 for all but SigLIP.
        prepare: a picture of any size to uint8 (size, size, 3); can be sent to other processes and needs no torch.
    """

    tag: str
    former: tuple[str, ...]
    dim: int
    size: int
    scale: float
    bias: float
    prepare: PictureInput

    def pictures(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (B, size, size, 3) to float32 unit vectors (B, D)."""
        ...

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Sentences to float32 unit vectors (N, D). The picture tower is not loaded for it."""
        ...


class CompactEmbedder:
    """A compact CLIP and its sentence encoder; see `Embedder`. Pictures are seen whole, on white."""

    bias = 0.0

    def __init__(self, path: Path, size: int, device: str | torch.device | None):
        self.path, self.device = path, device
        sentence = resolve("sentence")
        self.read = NumpyText(path, sentence)
        self.size, self.dim, self.scale = size, self.read.dim, self.read.scale
        self.prepare = PictureInput(size, "letterbox", "bilinear")
        self.tag, *former = (
            f"{digest(path)[:16]}+{digest(sentence)[:16]}:{self.prepare.tag}" for digest in (weights_digest, sha256)
        )
        self.former = tuple(former)

    @cached_property
    def tower(self) -> PictureTower:
        """The picture tower in torch, loaded when first asked for."""
        from lienzo.clip.picture_tower import load_compact_tower

        return load_compact_tower(self.path, self.device)

    def pictures(self, batch: np.ndarray) -> np.ndarray:
        return self.tower(batch)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.read(texts)

    def load(self, towers: Towers) -> None:
        """Load now what would be loaded on first use."""
        if towers != "text":
            _ = self.tower


def open_embedder(name: str, device: str | torch.device | None = None, towers: Towers = "both") -> Embedder:
    """A CLIP by the name of a model, by a file or folder, or by `hub:org/name`.

    Args:
        name: see `lienzo.weights.places.resolve`. OpenAI's, open_clip's and Hugging Face's CLIPs and SigLIPs are
            recognised by the names of their tensors.
        device: of torch; the CPU unless given.
        towers: which are loaded now; the other one is loaded when it is first used.

    Raises:
        BadInput: there is no such model, it is no CLIP, or it lacks its tokenizer.
        BadWeights: its file is broken.
    """
    if towers not in ("both", "text", "image"):
        raise BadInput(f"The towers were '{towers}'; they should be both, text or image.")
    path = resolve(name)
    size = _compact_size(path)
    if size is None:
        from lienzo.clip.tower_embedder import TowerEmbedder

        return TowerEmbedder(path, device, towers)
    embedder = CompactEmbedder(path, size, device)
    embedder.load(towers)
    return embedder


def _compact_size(path: Path) -> int | None:
    """The side of a compact CLIP's pictures; None for any other file."""
    if path.suffix.lower() != ".safetensors":
        return None
    arrays = Arrays(path)
    if arrays.network != "compact-clip":
        return None
    size = arrays.config.get("size", 32)
    if type(size) is not int or not 1 <= size <= 4096:
        raise BadWeights(f"The model '{arrays.name}' has no sensible size of pictures.")
    return size
