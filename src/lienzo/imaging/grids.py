"""Contact sheets: several pictures on one page, with labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

MAX_PIXELS = 64_000_000
MAX_LINES = 3
_MARGIN = 8  # pixels between pictures
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Arial Unicode.ttf")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(
    pictures: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Pictures in rows on white, each centred in a cell of the largest one's size, with its label below.

    Args:
        pictures: uint8 (H, W, 3) each, of any sizes.
        labels: One text a picture, wrapped to the cell and cut after three lines.
        columns: Pictures in a row; by default about as many as rows.
        max_pixels: The sheet is scaled down as a whole where it would be larger.

    Returns:
        uint8 (H, W, 3).

    Raises:
        BadInput: no pictures, or another number of labels than of pictures.
    """
    if not pictures:
        raise BadInput("A contact sheet needs at least one picture.")
    if labels is not None and len(labels) != len(pictures):
        raise BadInput(f"There are {len(pictures)} pictures but {len(labels)} labels.")
    columns = min(max(columns or math.ceil(math.sqrt(len(pictures))), 1), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    width = max(picture.shape[1] for picture in pictures)
    height = max(picture.shape[0] for picture in pictures)
    shrink = _shrink(width, height, columns, rows, labels is not None, max_pixels)
    width, height = max(1, int(width * shrink)), max(1, int(height * shrink))
    font = font_for(_text_size(width), labels or ())
    texts = [_wrapped(label, font, width) for label in labels] if labels else [[] for _ in pictures]
    line = _line_height(width)
    step_y = height + _MARGIN + line * max(len(lines) for lines in texts)
    sheet = Image.new("RGB", (columns * (width + _MARGIN) + _MARGIN, rows * step_y + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, lines) in enumerate(zip(pictures, texts)):
        x = _MARGIN + index % columns * (width + _MARGIN)
        y = _MARGIN + index // columns * step_y
        cell = _fitted(picture, shrink)
        sheet.paste(cell, (x + (width - cell.width) // 2, y + (height - cell.height) // 2))
        for number, text in enumerate(lines):
            draw.text((x, y + height + number * line), text, fill="black", font=font)
    return np.array(sheet)


def _shrink(width: int, height: int, columns: int, rows: int, labelled: bool, max_pixels: int) -> float:
    """The factor by which pictures shrink so that the sheet keeps within `max_pixels`."""
    shrink = 1.0
    for _ in range(60):
        w, h = max(1, int(width * shrink)), max(1, int(height * shrink))
        text = MAX_LINES * _line_height(w) if labelled else 0
        if (columns * (w + _MARGIN) + _MARGIN) * (rows * (h + _MARGIN + text) + _MARGIN) <= max_pixels:
            return shrink
        shrink *= 0.9
    raise BadInput(f"{columns * rows} pictures do not fit on one sheet of {max_pixels} pixels.")


def _fitted(picture: np.ndarray, shrink: float) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
    if shrink == 1.0:
        return image
    size = (max(1, int(image.width * shrink)), max(1, int(image.height * shrink)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _text_size(width: int) -> int:
    return min(max(width // 16, 10), 28)


def _line_height(width: int) -> int:
    return _text_size(width) * 4 // 3


def font_for(size: int, labels: Sequence[str]) -> Font:
    """Pillow's own font where it has the letters; it is Latin only, so others take a font of the system.

    Where the system has none of the known ones either, missing letters show as boxes.
    """
    font = ImageFont.load_default(size)
    if all(ord(char) < 0x180 or char in "–—‘’“”…" for label in labels for char in label):
        return font
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return font


def _wrapped(label: str, font: Font, width: int) -> list[str]:
    """At most `MAX_LINES` lines no wider than `width`; long words are broken, a cut shows as three dots."""
    lines: list[str] = []
    rest = printable(label, 1000).strip()
    while rest and len(lines) < MAX_LINES:
        count = _fitting(rest, font, width)
        if count < len(rest):
            space = rest.rfind(" ", 1, count + 1)
            count = space if space > 0 else count
        lines.append(rest[:count].rstrip())
        rest = rest[count:].lstrip()
    if rest:
        last = lines[-1]
        while last and font.getlength(f"{last}…") > width:
            last = last[:-1]
        lines[-1] = f"{last.rstrip()}…"
    return lines


def _fitting(text: str, font: Font, width: int) -> int:
    """How many letters of `text` fit into `width` pixels; at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low
