"""A sheet of thumbnails in sections, each picture with a line about it and its file name below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.text import printable
from lienzo.imaging.grids import Font, font_for
from lienzo.imaging.reading import open_picture

SIDE = 192  # pixels of a thumbnail's square
_GAP, _PAD, _TEXT, _TITLE, _LINE = 14, 4, 13, 16, 18
_INK, _FAINT, _TILE, _GREY = (20, 20, 20), (95, 95, 95), (246, 246, 246), (205, 205, 205)


@dataclass(frozen=True)
class Tile:
    """A picture of the sheet.

    Attributes:
        picture: uint8 (H, W, 3), or None where it cannot be read: a grey tile then.
        line: what to say of it, such as rank and score.
        name: its file's name; a long one loses its middle.
    """

    picture: np.ndarray | None
    line: str
    name: str


@dataclass(frozen=True)
class Section:
    """Tiles under a title; an empty title takes no room."""

    title: str
    tiles: Sequence[Tile]


def load_thumbnail(path: str | Path, side: int = SIDE) -> np.ndarray | None:
    """A picture no larger than a square of `side`, uint8 (H, W, 3), or None where it cannot be read."""
    try:
        picture = open_picture(path, at_least=side)
    except BadPicture:
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def result_sheet(sections: Sequence[Section], columns: int | None = None) -> np.ndarray:
    """Sections one below the other on white.

    Args:
        sections: titles with their tiles.
        columns: tiles in a row; by default up to six, fewer where there are few.

    Returns:
        uint8 (H, W, 3).

    Raises:
        BadInput: there are no pictures.
    """
    longest = max((len(section.tiles) for section in sections), default=0)
    if not longest:
        raise BadInput("A sheet of results needs at least one picture.")
    columns = min(columns or (longest if longest <= 4 else min(math.ceil(math.sqrt(longest * 1.5)), 6)), longest)
    columns = max(columns, 2)  # room for a title
    texts = [text for s in sections for text in (s.title, *(t.line + t.name for t in s.tiles))]
    small, large = font_for(_TEXT, texts), font_for(_TITLE, texts)
    step_x, step_y = SIDE + _GAP, SIDE + _PAD + 2 * _LINE + _GAP
    heights = [_title_height(s) + math.ceil(len(s.tiles) / columns) * step_y for s in sections]
    sheet = Image.new("RGB", (columns * step_x + _GAP, sum(heights) + _GAP), "white")
    draw, top = ImageDraw.Draw(sheet), _GAP
    for section, height in zip(sections, heights):
        if section.title:
            room = sheet.width - 2 * _GAP
            draw.text((_GAP, top + 10), shortened(section.title, room, large), fill=_INK, font=large, anchor="lm")
        for index, tile in enumerate(section.tiles):
            at = (_GAP + index % columns * step_x, top + _title_height(section) + index // columns * step_y)
            _draw_tile(sheet, draw, at, tile, small)
        top += height
    return np.array(sheet)


def shortened(text: str, room: float, font: Font) -> str:
    """As much of both ends of a text as fits: of a file's name the suffix stays."""
    text = printable(text, 1000).strip()
    if font.getlength(text) <= room:
        return text
    low, high = 0, len(text) - 1  # letters that are kept
    while low < high:
        kept = (low + high + 1) // 2
        if font.getlength(_without_middle(text, kept)) <= room:
            low = kept
        else:
            high = kept - 1
    return _without_middle(text, low)


def _without_middle(text: str, kept: int) -> str:
    end = kept // 2
    return f"{text[: kept - end]}…{text[len(text) - end :]}"


def _title_height(section: Section) -> int:
    return _TITLE + 12 if section.title else 0


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], tile: Tile, font: Font) -> None:
    x, y = at
    draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), fill=_TILE if tile.picture is not None else _GREY)
    if tile.picture is None:
        draw.text((x + SIDE // 2, y + SIDE // 2), "cannot be read", fill=_FAINT, font=font, anchor="mm")
    else:
        picture = fitted(tile.picture, SIDE)
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
    middle = y + SIDE + _PAD + _LINE // 2
    draw.text((x, middle), shortened(tile.line, SIDE, font), fill=_INK, font=font, anchor="lm")
    draw.text((x, middle + _LINE), shortened(tile.name, SIDE, font), fill=_FAINT, font=font, anchor="lm")


def fitted(picture: np.ndarray, side: int) -> Image.Image:
    """The whole picture, uint8 (H, W, 3), in a square of `side`. Small ones grow, so that one sees them; icons keep
    their hard pixels."""
    image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
    method = Image.Resampling.NEAREST if max(image.size) <= 32 else Image.Resampling.LANCZOS
    return ImageOps.contain(image, (side, side), method)
