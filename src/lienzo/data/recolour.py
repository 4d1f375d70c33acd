"""The colour of a drawing, named, and the same drawing in another colour.

Works on pictures that are mostly of one hue (an apple, a car), so that "a purple cat" can be learned from a
picture of a purple cat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HUES = {"red": 0.0, "orange": 30.0, "yellow": 51.0, "green": 120.0, "blue": 214.0, "purple": 275.0, "pink": 332.0}


@dataclass(frozen=True)
class Paint:
    """How a hue becomes a named colour: saturation and value are scaled, dark places are lifted."""

    hue: float
    saturation: float = 1.0
    value: float = 1.0
    lift: float = 0.0


PAINTS = {name: Paint(hue) for name, hue in HUES.items()} | {
    "orange": Paint(HUES["orange"], lift=0.15),
    "yellow": Paint(HUES["yellow"], saturation=1.1, lift=0.3),
    "green": Paint(HUES["green"], value=0.8),
    "pink": Paint(HUES["pink"], saturation=0.62, lift=0.35),
    "brown": Paint(25.0, saturation=0.75, value=0.6),
    "gray": Paint(0.0, saturation=0.05, value=0.68),
    "white": Paint(0.0, saturation=0.04, lift=0.3),
    "black": Paint(0.0, saturation=0.1, value=0.22),
}
REACH = 38.0  # degrees around the dominant hue that count as the object's colour


def to_hsv(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees, saturation and value in [0, 1] of uint8 RGB (H, W, 3)."""
    rgb = image.astype(np.float32) / 255
    value, low = rgb.max(-1), rgb.min(-1)
    spread = value - low
    safe = np.where(spread > 0, spread, 1)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.select(
        [spread == 0, value == r, value == g],
        [np.zeros_like(r), ((g - b) / safe) % 6, (b - r) / safe + 2],
        (r - g) / safe + 4,
    )
    return hue * 60, spread / np.where(value > 0, value, 1), value


def from_hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3) of hue in degrees, saturation and value in [0, 1]."""
    parts = []
    for shift in (5, 3, 1):
        k = (shift + hue / 60) % 6
        parts.append(value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
    return (np.stack(parts, -1) * 255).round().clip(0, 255).astype(np.uint8)


def _distance(hue: np.ndarray | float, other: np.ndarray | float) -> np.ndarray:
    return np.abs((np.asarray(hue) - other + 180) % 360 - 180)


def main_hue(image: np.ndarray) -> tuple[float, float] | None:
    """The hue (degrees) that most of a drawing on white has, and its mean saturation; None when there is none."""
    hue, saturation, value = to_hsv(image)
    drawn = (saturation > 0.08) | (value < 0.92)
    strong = (saturation > 0.3) & (value > 0.25)
    if drawn.sum() < 0.02 * drawn.size or strong.sum() < 0.4 * drawn.sum():
        return None
    histogram = np.bincount((hue[strong] // 10).astype(int) % 36, minlength=36)
    smooth = histogram + 0.5 * (np.roll(histogram, 1) + np.roll(histogram, -1))
    centre = smooth.argmax() * 10 + 5.0
    near = strong & (_distance(hue, centre) < REACH)
    if near.sum() < 0.7 * strong.sum():
        return None
    return float(centre), float(saturation[near].mean())


def colour_name(image: np.ndarray) -> str | None:
    """The colour word of a one-hue drawing, or None."""
    found = main_hue(image)
    if found is None or found[1] < 0.45:
        return None
    name = min(HUES, key=lambda colour: float(_distance(found[0], HUES[colour])))
    return name if _distance(found[0], HUES[name]) < 18 else None


def recolour(image: np.ndarray, colour: str) -> np.ndarray | None:
    """The drawing with its main hue turned to `colour`, or None when it has no main hue.

    Args:
        image: uint8 RGB (H, W, 3) on white.
        colour: a key of `PAINTS`.
    """
    found = main_hue(image)
    if found is None:
        return None
    hue, saturation, value = to_hsv(image)
    near = (_distance(hue, found[0]) < REACH + 10) & (saturation > 0.06)
    paint = PAINTS[colour]
    turned = (hue + paint.hue - found[0]) % 360
    boosted = np.clip(saturation * paint.saturation * max(1.0, 0.7 / found[1]), 0, 1)
    lifted = (value + paint.lift * (1 - value)) * paint.value
    return from_hsv(np.where(near, turned, hue), np.where(near, boosted, saturation), np.where(near, lifted, value))
