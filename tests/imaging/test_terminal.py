"""Previews in the terminal."""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pictures import gradient

from lienzo.imaging.reading import load_picture
from lienzo.imaging.terminal import choose_protocol, render, show_inline


@pytest.mark.parametrize(
    ("tty", "environment", "expected"),
    [
        (False, {"TERM": "xterm-kitty"}, None),
        (True, {}, None),
        (True, {"TERM": "dumb"}, None),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, None),
        (True, {"TERM": "xterm-256color"}, "blocks"),
        (True, {"TERM": "xterm-kitty"}, "kitty"),
        (True, {"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        (True, {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        (True, {"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        (True, {"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, "blocks"),
    ],
)
def test_which_protocol(tty: bool, environment: dict[str, str], expected: str | None) -> None:
    assert choose_protocol(tty, environment) == expected


def test_half_blocks() -> None:
    image = np.zeros((2, 1, 3), np.uint8)
    image[0], image[1] = [255, 0, 0], [0, 0, 255]
    assert render(image, "blocks", 1) == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m\n"
    text = render(gradient(24, 32), "blocks", 16)
    assert text.count("\n") == 6
    assert text.count("▀") == 16 * 6


def test_kitty_and_iterm_carry_the_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", render(noise, "kitty", 20))
    assert [keys.endswith("m=1") for keys, _ in parts] == [True] * (len(parts) - 1) + [False]
    assert len(parts) > 2
    assert all(len(data) <= 4096 for _, data in parts)
    assert np.array_equal(load_picture(base64.b64decode("".join(data for _, data in parts))), noise)
    (data,) = re.findall(r"\x1b\]1337;File=[^:]*:([^\x07]*)\x07", render(noise, "iterm", 20))
    assert np.array_equal(load_picture(base64.b64decode(data)), noise)


def test_a_pipe_gets_nothing() -> None:
    stream = io.StringIO()
    assert not show_inline(gradient(), stream)
    assert stream.getvalue() == ""
