"""Pictures of known colours for the tests of data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]


def colour_of(number: int) -> Colour:
    """A colour that tells which picture it is."""
    return (number * 37 % 256, number * 91 % 256, number * 151 % 256)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(number: int, width: int = 16, height: int = 16, kind: str = "PNG", **options: Any) -> bytes:
    """A file of one colour."""
    return encoded(Image.new("RGB", (width, height), colour_of(number)), kind, **options)


def write(root: Path, files: dict[str, bytes | str]) -> Path:
    """Write files by path below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def centre(images: Any, row: int) -> list[int]:
    """The colour in the middle of a picture."""
    picture = images[np.array([row])][0]
    return picture[picture.shape[0] // 2, picture.shape[1] // 2].tolist()
