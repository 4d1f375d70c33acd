"""Contact sheets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pictures import gradient

from lienzo.core.errors import BadInput
from lienzo.imaging import grids
from lienzo.imaging.grids import contact_sheet


def test_pictures_stand_in_rows() -> None:
    pictures = [np.full((10, 20, 3), value, np.uint8) for value in (10, 60, 110, 160, 210)]
    sheet = contact_sheet(pictures)
    assert sheet.shape == (2 * 18 + 8, 3 * 28 + 8, 3)
    assert sheet[8, 8].tolist() == [10] * 3
    assert sheet[8 + 18, 8 + 28].tolist() == [210] * 3
    assert sheet[8 + 18, 8 + 56].tolist() == [255] * 3
    assert contact_sheet(pictures, columns=5).shape == (26, 148, 3)
    assert contact_sheet(pictures, columns=99).shape == (26, 148, 3)
    assert contact_sheet(pictures[:1]).shape == (26, 36, 3)


def test_small_pictures_are_centred() -> None:
    sheet = contact_sheet([np.zeros((20, 20, 3), np.uint8), np.zeros((10, 4, 3), np.uint8)], columns=2)
    dark = np.argwhere(sheet[:, 36:, 0] == 0)
    assert dark.min(0).tolist() == [13, 8]
    assert dark.max(0).tolist() == [22, 11]


def test_labels_stay_inside_their_cells() -> None:
    pictures = [gradient(60, 60)] * 2
    plain = contact_sheet(pictures, columns=2)
    sheet = contact_sheet(pictures, ["", "W" * 200 + " word " * 50], columns=2)
    assert sheet.shape[0] > plain.shape[0]
    below = sheet[plain.shape[0] - 8 :]
    assert (below[:, : 8 + 60 + 8] == 255).all()
    assert (below[:, 76:] < 128).any()
    assert (below[:, -8:] == 255).all()


def test_text_is_wrapped_at_words_and_cut_with_dots() -> None:
    font = grids.font_for(12, ())
    lines = grids._wrapped("one two three four five six seven eight nine ten eleven twelve", font, 60)
    assert len(lines) == 3
    assert lines[0] == "one two"
    assert lines[-1].endswith("…")
    assert all(font.getlength(line) <= 60 for line in lines)
    assert grids._wrapped("a\nb\x1b[31m", font, 200) == ["a b[31m"]
    assert grids._wrapped("", font, 60) == []


def test_other_scripts_get_a_font_with_their_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    font = grids.font_for(14, ["рыжая лиса"])
    if getattr(font, "path", None):  # this system has one of the known fonts
        assert bytes(font.getmask("Ж")) != bytes(font.getmask("Ш"))
    monkeypatch.setattr(grids, "_FONTS", ("no-such-font.ttf",))
    assert contact_sheet([gradient()], ["рыжая лиса"]).ndim == 3


def test_a_large_sheet_shrinks_to_its_cap() -> None:
    sheet = contact_sheet([gradient(300, 300)] * 9, ["x"] * 9, max_pixels=200_000)
    assert 100_000 < sheet.shape[0] * sheet.shape[1] <= 200_000
    with pytest.raises(BadInput, match="do not fit"):
        contact_sheet([gradient(4, 4)] * 100, max_pixels=1000)


def test_what_is_no_sheet() -> None:
    with pytest.raises(BadInput, match="at least one"):
        contact_sheet([])
    with pytest.raises(BadInput, match="1 pictures but 2 labels"):
        contact_sheet([gradient()], ["a", "b"])
