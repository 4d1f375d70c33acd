"""A confusion matrix as a picture: rows are what is true, columns what was answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.imaging.grids import font_for

_TEXT = 12  # size of letters
_LONGEST = 24  # letters of a label
MAX_CLASSES = 200


def confusion_picture(counts: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Cells are the darker the larger their share of the row; the number in a cell is its count.

    Args:
        counts: (classes, classes), [true, answered].
        labels: the classes.

    Returns:
        uint8 (H, W, 3).

    Raises:
        BadInput: counts and labels do not fit, or there are more than `MAX_CLASSES`.
    """
    classes = len(labels)
    if counts.shape != (classes, classes) or not 1 <= classes <= MAX_CLASSES:
        raise BadInput(f"A confusion matrix is drawn of 1 to {MAX_CLASSES} classes; there are {classes}.")
    names = [printable(label, _LONGEST) for label in labels]
    font = font_for(_TEXT, names)
    cell = 36 if classes <= 30 else 16
    edge = round(max(font.getlength(name) for name in names)) + 14
    side = edge + cell * classes + 8
    sheet = Image.new("RGB", (side, side + 20), "white")
    draw = ImageDraw.Draw(sheet)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row in range(classes):
        middle = edge + row * cell + cell // 2
        draw.text((edge - 6, middle), names[row], fill="black", font=font, anchor="rm")
        for column in range(classes):
            x, y, share = edge + column * cell, edge + row * cell, float(shares[row, column])
            own = (46, 125, 66) if row == column else (176, 58, 46)
            colour = tuple(round(255 + (part - 255) * share) for part in own)
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=colour, outline=(225, 225, 225))
            if counts[row, column] and cell >= 30:
                ink = "white" if share > 0.55 else "black"
                draw.text((x + cell // 2, y + cell // 2), str(counts[row, column]), fill=ink, font=font, anchor="mm")
    for column, name in enumerate(names):
        strip = Image.new("RGB", (edge - 6, cell), "white")
        ImageDraw.Draw(strip).text((2, cell // 2), name, fill="black", font=font, anchor="lm")
        sheet.paste(strip.rotate(90, expand=True), (edge + column * cell, 0))
    draw.text((edge, side + 2), "rows: true, columns: answered", fill=(110, 110, 110), font=font)
    return np.array(sheet)
