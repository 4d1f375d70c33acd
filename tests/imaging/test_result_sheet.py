"""Sheets of thumbnails with names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.imaging.grids import font_for
from lienzo.imaging.result_sheet import _GAP, SIDE, Section, Tile, load_thumbnail, result_sheet, shortened

RED = np.full((30, 60, 3), (255, 0, 0), np.uint8)


def test_pictures_are_whole_and_centred() -> None:
    sheet = result_sheet([Section("", [Tile(RED, "1.  0.5", "red.png"), Tile(RED, "2.", "b.png")])])
    red = (sheet == (255, 0, 0)).all(-1)
    ys, xs = np.nonzero(red[:, : _GAP + SIDE])
    assert (xs.min(), xs.max()) == (_GAP, _GAP + SIDE - 1)
    assert ys.max() - ys.min() + 1 == SIDE // 2
    assert ys.min() - _GAP == SIDE // 4


def test_each_section_has_a_title_and_its_rows() -> None:
    tiles = [Tile(RED, "1.", "a.png")] * 3
    plain = result_sheet([Section("", tiles)], columns=3)
    titled = result_sheet([Section("red things", tiles)], columns=3)
    assert titled.shape[0] > plain.shape[0]
    twice = result_sheet([Section("red things", tiles)] * 2, columns=3)
    assert twice.shape[0] == 2 * titled.shape[0] - _GAP
    wrapped = result_sheet([Section("", tiles)], columns=2)
    assert wrapped.shape[0] == 2 * plain.shape[0] - _GAP


def test_text_stands_below_its_picture_and_inside_its_column() -> None:
    sheet = result_sheet([Section("", [Tile(RED, "W" * 99, "W" * 99), Tile(RED, "", "")])], columns=2)
    below = sheet[_GAP + SIDE :]
    assert (below[:, _GAP : _GAP + SIDE] < 150).any()
    assert (below[:, _GAP + SIDE + 2 :] == 255).all()


def test_unreadable_pictures_are_grey_tiles(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert load_thumbnail(tmp_path / "broken.png") is None
    assert load_thumbnail(tmp_path / "gone.png") is None
    sheet = result_sheet([Section("", [Tile(None, "1.", "broken.png")])])
    assert sheet[_GAP + 3, _GAP + 3].tolist() == [205, 205, 205]
    assert len(np.unique(sheet[_GAP + 80 : _GAP + 110, _GAP : _GAP + SIDE])) > 2  # it says so


def test_thumbnails_are_small(tmp_path: Path) -> None:
    Image.new("RGB", (900, 300), "blue").save(tmp_path / "blue.jpg")
    thumbnail = load_thumbnail(tmp_path / "blue.jpg")
    assert thumbnail is not None
    assert thumbnail.shape == (64, SIDE, 3)


def test_a_long_name_loses_its_middle() -> None:
    font = font_for(13, ())
    short = shortened("holiday in the mountains, day three, the lake at noon.jpeg", 150, font)
    assert short.startswith("holiday")
    assert short.endswith("noon.jpeg")
    assert "…" in short
    assert 120 < font.getlength(short) <= 150
    assert shortened("a.png", 150, font) == "a.png"
    assert shortened("abc", 1, font) == "…"


@pytest.mark.parametrize(
    "name", ["рыжая лиса.png", "🦊👨‍👩‍👧.png", "漢字.png", "a\x1b[31m\nb.png", "\udcff.png", "‮evil.png", ""]
)
def test_any_name_can_be_drawn(name: str) -> None:
    assert result_sheet([Section(name, [Tile(RED, name, name)])]).dtype == np.uint8


def test_an_empty_sheet_is_refused() -> None:
    for sections in ([], [Section("nothing", [])]):
        with pytest.raises(BadInput, match="at least one"):
            result_sheet(sections)
