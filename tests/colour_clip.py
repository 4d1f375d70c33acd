"""A CLIP that knows colours: it makes every verb's answers plain, whatever networks are bundled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lienzo.clip.picture_input import PictureInput

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "grey": (1, 1, 1)}


class ColourClip:
    """A picture's vector is its mean colour; a text's is that of the colour words in it."""

    dim, scale, bias = 3, 20.0, 0.0

    def __init__(self, tag: str = "colours", size: int = 16, shape: str = "squash"):
        self.tag, self.size = tag, size
        self.prepare = PictureInput(size, shape, "bilinear")  # type: ignore[arg-type]

    def pictures(self, batch: np.ndarray) -> np.ndarray:
        return _unit(batch.astype(np.float32).mean(axis=(1, 2)) + 1)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        found = [[COLOURS[word] for word in text.replace(".", " ").split() if word in COLOURS] for text in texts]
        return _unit(np.array([np.sum(each, axis=0) if each else (1, 1, 1) for each in found], np.float32))


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def paint(folder: Path, colour: str, count: int, *, seed: int = 0, spread: int = 40) -> Path:
    """Pictures of a colour, each a little different."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *colour.encode()])
    for number in range(count):
        base = np.array(COLOURS[colour]) * 200 + rng.integers(0, spread, 3)
        pixels = np.clip(base + rng.integers(-10, 10, (20, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder
