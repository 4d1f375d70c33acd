"""Masks: inside Lienzo 1 means change and 0 means keep; the conventions of others are converted at the edges."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.imaging.reading import Limits, open_picture

Convention = Literal["white", "black", "transparent"]


def from_white(grey: np.ndarray) -> np.ndarray:
    """White means edit (A1111): uint8 (H, W) to float32 (H, W) in [0, 1]."""
    return grey.astype(np.float32) / 255


def from_transparent(rgba: np.ndarray) -> np.ndarray:
    """Transparent means edit (OpenAI): uint8 (H, W, 4) to float32 (H, W) in [0, 1].

    Raises:
        BadInput: the picture is nowhere transparent, so that it asks for no change at all.
    """
    alpha = rgba[..., 3]
    if alpha.min(initial=255) == 255:
        raise BadInput("This mask has no transparent part; the parts to change must be transparent.")
    return 1 - alpha.astype(np.float32) / 255


def to_white(mask: np.ndarray) -> np.ndarray:
    """float (H, W) in [0, 1] to uint8 (H, W), white where to edit."""
    return (np.clip(mask, 0, 1) * 255).round().astype(np.uint8)


def to_transparent(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """float (H, W) and uint8 (H, W, 3) to uint8 (H, W, 4), the picture with its parts to edit transparent."""
    return np.dstack([picture, 255 - to_white(mask)])


def read_mask(
    source: str | Path | bytes, convention: Convention = "white", *, limits: Limits | None = None
) -> np.ndarray:
    """A mask from a file, as float32 (H, W) in [0, 1], 1 where to change.

    Raises:
        BadPicture: the file cannot be read.
        BadInput: the convention is unknown, or the mask has no transparent part where it should.
    """
    if convention in ("white", "black"):
        rgba = open_picture(source, mode="RGBA", limits=limits)
        kept = "black" if convention == "white" else "white"  # what is not drawn at all is not to be changed
        white = from_white(np.array(Image.alpha_composite(Image.new("RGBA", rgba.size, kept), rgba).convert("L")))
        return white if convention == "white" else 1 - white
    if convention == "transparent":
        return from_transparent(np.array(open_picture(source, mode="RGBA", limits=limits)))
    shown = printable(str(convention), 40)
    raise BadInput(f"There is no mask convention '{shown}'; choose white, black or transparent.")


def fitted(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask at another size, as float32 (height, width) in [0, 1], with an antialiased edge."""
    if mask.shape == (height, width):
        return mask.astype(np.float32)
    image = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(image, dtype=np.float32), 0, 1)
