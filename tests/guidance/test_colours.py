from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.errors import BadInput
from lienzo.guidance.colours import parse_colour, parse_palette


@pytest.mark.parametrize(
    ("text", "rgb"),
    [("red", (255, 0, 0)), (" Navy ", (0, 0, 128)), ("#f80", (255, 136, 0)), ("#ff8800", (255, 136, 0)),
     ("FF8800", (255, 136, 0)), ("light blue", (173, 216, 230))],
)  # fmt: skip
def test_colours(text: str, rgb: tuple[int, int, int]) -> None:
    torch.testing.assert_close(parse_colour(text) * 255, torch.tensor(rgb).float())


@pytest.mark.parametrize("text", ["", "reddish", "#12", "12", "rgb(1,2,3)", "#gggggg", "red blue"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="no colour"):
        parse_colour(text)


def test_palettes() -> None:
    assert parse_palette("red, #00f").tolist() == [[1, 0, 0], [0, 0, 1]]
    assert parse_palette("red->blue*3").tolist() == [[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]]
    assert len(parse_palette("white, red->blue")) == 9
    three = parse_palette("black->red->yellow*5")
    torch.testing.assert_close(three[1:4], torch.tensor([[0.5, 0, 0], [1, 0, 0], [1, 0.5, 0]]))


@given(st.text(alphabet="red,->*#0123456789 blue;"))
def test_any_text_is_a_palette_or_refused(text: str) -> None:
    try:
        colours = parse_palette(text)
    except BadInput:
        return
    assert colours.ndim == 2
    assert 0 <= colours.min() <= colours.max() <= 1
