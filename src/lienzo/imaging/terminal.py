"""Pictures inside the terminal: by the protocols of kitty and iTerm2, or as coloured half blocks."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Literal, TextIO

import numpy as np
from PIL import Image

Protocol = Literal["kitty", "iterm", "blocks"]
_CHUNK = 4096  # bytes of text that kitty takes at once
_MAX_SIDE = 512  # pixels of a preview


def show_inline(image: np.ndarray, stream: TextIO, *, columns: int = 40) -> bool:
    """Show a picture where the cursor is, if the stream is a terminal that can.

    Args:
        image: uint8 (H, W, 3).
        stream: Where to write, e.g. ``sys.stderr``.
        columns: Width in letters; less where the terminal is narrower.

    Returns:
        Whether anything was written. A pipe or a file gets nothing.
    """
    protocol = choose_protocol(stream.isatty(), os.environ)
    if protocol is None:
        return False
    columns = max(1, min(columns, shutil.get_terminal_size().columns - 1))
    stream.write(render(image, protocol, columns))
    stream.flush()
    return True


def choose_protocol(tty: bool, environment: Mapping[str, str]) -> Protocol | None:
    """What a terminal with these environment variables shows; None when it shows no pictures at all."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if not tty or term in ("", "dumb") or environment.get("NO_COLOR"):
        return None
    if "TMUX" in environment or term.startswith(("screen", "tmux")):
        return "blocks"  # a multiplexer swallows the picture protocols
    if "kitty" in term or "KITTY_WINDOW_ID" in environment or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty", "vscode"):
        return "iterm"
    return "blocks"


def render(image: np.ndarray, protocol: Protocol, columns: int) -> str:
    """The text that shows the picture, ending in a line break."""
    if protocol == "blocks":
        return "".join(_blocks(image, columns))
    data = base64.standard_b64encode(_png(image)).decode()
    if protocol == "iterm":
        return f"\x1b]1337;File=inline=1;width={columns};preserveAspectRatio=1:{data}\x07\n"
    parts = [data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK)]
    head = f"a=T,f=100,c={columns},"
    commands = [
        f"\x1b_G{head if i == 0 else ''}m={int(i < len(parts) - 1)};{part}\x1b\\" for i, part in enumerate(parts)
    ]
    return "".join(commands) + "\n"


def _png(image: np.ndarray) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _blocks(image: np.ndarray, columns: int) -> Iterator[str]:
    """Each letter is two pixels: the upper in the letter's colour, the lower in the background's."""
    rows = max(1, round(columns * image.shape[0] / image.shape[1] / 2))
    small = Image.fromarray(np.ascontiguousarray(image)).convert("RGB")
    pixels = np.asarray(small.resize((columns, 2 * rows), Image.Resampling.BOX))
    for upper, lower in zip(pixels[::2], pixels[1::2]):
        for a, b in zip(upper, lower):
            yield f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀"
        yield "\x1b[0m\n"
