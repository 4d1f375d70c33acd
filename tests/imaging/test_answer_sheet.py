"""Bars are as long as probabilities and coloured by what is right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lienzo.core.errors import BadInput
from lienzo.imaging.answer_sheet import SIDE, Answered, answer_sheet

GREY = np.full((10, 20, 3), 90, np.uint8)
COLOURS = {None: (173, 203, 240), True: (168, 220, 172), False: (244, 178, 170)}


def bar(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    """The longest run of a colour in a row."""
    return int((sheet == np.array(colour)).all(-1).sum(1).max())


@pytest.mark.parametrize("right", [None, True, False])
def test_bars(right: bool | None) -> None:
    sheet = answer_sheet([Answered(GREY, [("cat", 0.75), ("dog\n\x1b", 0.2)], right)])
    assert bar(sheet, COLOURS[right]) == pytest.approx(0.75 * SIDE, abs=2)
    assert bar(answer_sheet([Answered(GREY, [("cat", 0.0)], right)]), COLOURS[right]) == 0
    assert bar(answer_sheet([Answered(GREY, [("unknown", math.nan)], right)]), COLOURS[right]) == 0


def test_many_pictures_of_all_sizes() -> None:
    cells = [Answered(np.zeros((1 + 40 * i, 300, 3), np.uint8), [("x" * 300, 1.5), ("猫", -1.0)]) for i in range(7)]
    sheet = answer_sheet(cells, columns=3)
    assert sheet.shape == (3 * (SIDE + 4 + 2 * 19 + 10) + 10, 3 * (SIDE + 10) + 10, 3)
    with pytest.raises(BadInput, match="at least one picture"):
        answer_sheet([])
