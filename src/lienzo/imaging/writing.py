"""Saving pictures: whole or not at all, with the recipe that makes them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable
from lienzo.imaging.metadata import Level, exif, texts

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_LONGEST_SIDE = {"PNG": 1 << 20, "JPEG": 65_500, "WEBP": 16_383}
_EXIF_BYTES = 65_000  # what one JPEG segment can hold


def save_picture(
    image: np.ndarray | Image.Image,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    level: Level = "full",
    exist_ok: bool = False,
    quality: int = 95,
) -> None:
    """Write a picture; a failure at any moment leaves an old file of that name as it was and nothing else behind.

    Args:
        image: uint8 (H, W, 3), (H, W, 4) or (H, W), or a Pillow image.
        path: Ends in .png, .jpg, .jpeg or .webp; its folder exists. PNG is lossless.
        metadata: The recipe to store in the picture (see `metadata.texts`).
        level: How much of it is stored: ``full``, ``parameters`` or ``none``.
        exist_ok: Whether an existing file may be replaced.
        quality: Of JPEG and WebP, 1 to 100.

    Raises:
        BadInput: the suffix or the size does not fit, the file exists, the recipe does not fit, or the disk refuses.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadInput(f"A picture's name ends in {', '.join(FORMATS)}; '{printable(path.name)}' does not.")
    picture = image if isinstance(image, Image.Image) else Image.fromarray(_checked(image))
    if max(picture.size) > _LONGEST_SIDE[kind]:
        raise BadInput(f"A {kind} picture is at most {_LONGEST_SIDE[kind]} pixels long; save it as PNG or smaller.")
    found = texts(metadata, level) if metadata is not None else {}
    with replacing(path, exist_ok=exist_ok) as temporary, temporary.open("wb") as file:
        _encode(picture, file, kind, found, quality)


def _checked(image: np.ndarray) -> np.ndarray:
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
    if image.dtype != np.uint8 or not fits or not image.size:
        raise BadInput(f"A picture is uint8 (H, W, 3); this is {image.dtype} {tuple(image.shape)}.")
    return np.ascontiguousarray(image)


def _encode(picture: Image.Image, file: BinaryIO, kind: str, found: dict[str, str], quality: int) -> None:
    if kind == "PNG":
        chunks = PngInfo()
        for name, text in found.items():
            if name == "parameters":
                chunks.add_text(name, text)  # plain text where Latin-1 will do, as older tools expect
            else:
                chunks.add_itxt(name, text)
        picture.save(file, "PNG", pnginfo=chunks, compress_level=6)
        return
    data = exif(found).tobytes() if found else b""
    if kind == "JPEG" and len(data) > _EXIF_BYTES:
        raise BadInput("The recipe is too long for a JPEG picture; save it as PNG, or store less of it.")
    if kind == "JPEG" and picture.mode not in ("RGB", "L"):
        picture = _on_white(picture)
    picture.save(file, kind, quality=quality, exif=data, **({"subsampling": 0} if kind == "JPEG" else {}))


def _on_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture.convert("RGBA"))
    return white.convert("RGB")
