"""A map of numbers laid over a picture as warmth, with its scale."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from lienzo.imaging.grids import font_for

# Equal steps of a map look like equal steps of brightness along these colours, from dark to light.
_COLOURS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
STRIP = 22
"""Pixels of the scale below a picture."""


def heat_colours(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1], any shape, to uint8 colours (..., 3)."""
    place = np.clip(np.nan_to_num(values), 0, 1) * (len(_COLOURS) - 1)
    low = np.minimum(place.astype(int), len(_COLOURS) - 2)
    part = (place - low)[..., None]
    return np.rint(_COLOURS[low] * (1 - part) + _COLOURS[low + 1] * part).astype(np.uint8)


def heat_overlay(picture: np.ndarray, heat: np.ndarray, *, largest: float | None = None, side: int = 320) -> np.ndarray:
    """The picture in grey under the map in colour, with a scale from 0 to the map's largest number below.

    Args:
        picture: uint8 (H, W, 3).
        heat: (h, w), of any size; numbers below 0 are shown as 0.
        largest: the number that is shown brightest; the map's own largest when None.
        side: pixels of the longer side.

    Returns:
        uint8 (H', W', 3).
    """
    scale = side / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    top = float(np.nanmax(heat)) if largest is None else largest
    shown = np.clip(np.nan_to_num(heat), 0, None) / top if top > 0 else np.zeros_like(heat)
    smooth = Image.fromarray(shown.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    grey = Image.fromarray(picture).convert("L").convert("RGB").resize(size, Image.Resampling.LANCZOS)
    mixed = 0.3 * np.asarray(grey, np.float64) + 0.7 * heat_colours(np.asarray(smooth))
    return np.concatenate([np.rint(mixed).astype(np.uint8), _scale(size[0], top)])


def _scale(width: int, top: float) -> np.ndarray:
    """The colours from 0 to `top` with both numbers, uint8 (STRIP, width, 3)."""
    strip = Image.new("RGB", (width, STRIP), "white")
    font = font_for(12, ())
    text = f"{max(top, 0):.2g}"
    left, right = 14, width - 8 - round(font.getlength(text))
    if right > left:
        bar = heat_colours(np.linspace(0, 1, right - left))[None].repeat(10, axis=0)
        strip.paste(Image.fromarray(bar), (left, 6))
    draw = ImageDraw.Draw(strip)
    draw.text((2, STRIP // 2), "0", fill="black", font=font, anchor="lm")
    draw.text((width - 2, STRIP // 2), text, fill="black", font=font, anchor="rm")
    return np.array(strip)
