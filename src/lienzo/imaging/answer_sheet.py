"""A sheet of pictures, each with what a classifier says of it as small bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from lienzo.core.errors import BadInput
from lienzo.imaging.grids import Font, font_for
from lienzo.imaging.result_sheet import fitted, shortened

SIDE = 160  # pixels of a picture's square
_ROW, _GAP, _TEXT = 19, 10, 12  # height of a bar, space around cells, size of letters
_BAR, _RIGHT, _WRONG, _EMPTY = (173, 203, 240), (168, 220, 172), (244, 178, 170), (238, 238, 238)


class Answered(NamedTuple):
    """A picture, uint8 (H, W, 3), its labels with probabilities, best first, and whether the first is right.

    A probability that is nan has no bar.
    """

    picture: np.ndarray
    answers: Sequence[tuple[str, float]]
    right: bool | None = None


def answer_sheet(cells: Sequence[Answered], columns: int | None = None) -> np.ndarray:
    """Pictures in rows on white with their answers below, a bar as long as each probability.

    The best answer's bar is green where it is right, red where it is wrong, blue where nobody knows.

    Returns:
        uint8 (H, W, 3).

    Raises:
        BadInput: there are no pictures.
    """
    if not cells:
        raise BadInput("A sheet of answers needs at least one picture.")
    columns = min(columns or max(math.ceil(math.sqrt(len(cells) * 1.4)), 1), len(cells))
    bars = max(len(cell.answers) for cell in cells)
    font = font_for(_TEXT, [label for cell in cells for label, _ in cell.answers])
    step_x, step_y = SIDE + _GAP, SIDE + 4 + bars * _ROW + _GAP
    size = (columns * step_x + _GAP, math.ceil(len(cells) / columns) * step_y + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for index, cell in enumerate(cells):
        x, y = _GAP + index % columns * step_x, _GAP + index // columns * step_y
        picture = fitted(cell.picture, SIDE)
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        for row, (label, share) in enumerate(cell.answers):
            colour = _BAR if row or cell.right is None else _RIGHT if cell.right else _WRONG
            _bar(draw, (x, y + SIDE + 4 + row * _ROW), label, share, colour, font)
    return np.array(sheet)


def _bar(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], label: str, share: float, colour: tuple[int, int, int], font: Font
) -> None:
    x, y = at
    draw.rectangle((x, y, x + SIDE - 1, y + _ROW - 3), fill=_EMPTY)
    length = 0 if math.isnan(share) else round((SIDE - 1) * min(max(share, 0.0), 1.0))
    if length:
        draw.rectangle((x, y, x + length, y + _ROW - 3), fill=colour)
    percent = "" if math.isnan(share) else f"{100 * share:.0f} %"
    room = SIDE - 12 - font.getlength(percent)
    draw.text((x + 4, y + 8), shortened(label, room, font), fill="black", font=font, anchor="lm")
    draw.text((x + SIDE - 4, y + 8), percent, fill="black", font=font, anchor="rm")
