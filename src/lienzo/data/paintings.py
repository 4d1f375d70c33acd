"""The thirty paintings inside GCompris, put together again from the pieces of its jigsaw activities."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.data.archives import read_package
from lienzo.data.rcc import read_rcc
from lienzo.data.records import Drawing
from lienzo.data.words import slug, unique

_ROOT = "usr/share/gcompris-qt/rcc/"
_TITLE = re.compile(r'qsTr\("((?:[^"\\]|\\.)*)"\)')
_OBJECT = re.compile(r"\{([^{}]*)\}")
_ENTRY = re.compile(r'"(\w+)"\s*:\s*(?:"([^"]*)"|([-\d.]+))')
_LATE = re.compile(r"^(.*?),\s+(.*?)(?:\s*-?\s*(\d{4}[\d-]*)\.?)?$")
MAX_SIDE = 4096
_SPELLING = {"Katsushika Hokusa": "Katsushika Hokusai", "Pieter Brugel": "Pieter Bruegel"}
_STYLES = {"Katsushika Hokusai": "print", "Utagawa Hiroshige": "print", "Michelangelo": "sculpture"}
_PAINTINGS_IN_DETAILS = 8


def read_board(text: str) -> tuple[str, list[dict[str, str]]]:
    """The title of a board file and its objects: the board first, then the pieces in drawing order."""
    title = _TITLE.search(text)
    _, _, levels = text.partition("levels")
    objects = [
        {key: quoted or number for key, quoted, number in _ENTRY.findall(body)} for body in _OBJECT.findall(levels)
    ]
    if title is None or not objects:
        raise BadInput("A board file of GCompris has no title or no pieces.")
    return title[1].replace('\\"', '"'), objects


def _open(files: Mapping[str, bytes], path: str) -> Image.Image:
    image = Image.open(io.BytesIO(files[path]), formats=("WEBP", "PNG", "JPEG"))
    if max(image.size) > MAX_SIDE:
        raise BadInput(f"A piece of {image.width} x {image.height} pixels is too large.")
    return image.convert("RGBA")


def assemble(objects: list[dict[str, str]], files: Mapping[str, bytes], folder: str) -> Image.Image:
    """Lay the pieces of a board together: RGBA, cropped to what is covered.

    x and y of a piece are its centre as a share of the board; a board without width and height is a picture of
    its own that the pieces lie on.
    """
    board, *pieces = objects
    if "width" in board and "height" in board:
        width, height = int(float(board["width"])), int(float(board["height"]))
        if not 0 < max(width, height) <= MAX_SIDE:
            raise BadInput("A board of GCompris has an implausible size.")
        canvas = Image.new("RGBA", (width, height))
    else:
        canvas = _open(files, f"{folder}/{board['pixmapfile']}")
        width, height = canvas.size
    for piece in pieces:
        image = _open(files, f"{folder}/{piece['pixmapfile']}")
        left = max(0, round(float(piece["x"]) * width - image.width / 2))
        top = max(0, round(float(piece["y"]) * height - image.height / 2))
        layer = Image.new("RGBA", canvas.size)
        layer.paste(image, (left, top))
        canvas = Image.alpha_composite(canvas, layer)
    box = canvas.getchannel("A").getbbox()
    return canvas.crop(box) if box else canvas


def painting_images(package: Path) -> Iterator[tuple[str, Image.Image]]:
    """The thirty works as (title in the file, RGBA picture); the photographs among the boards are left out."""
    wanted = {f"{_ROOT}{name}.rcc" for name in ("paintings", "details")}
    for path, bundle in sorted(read_package(package, wanted.__contains__), reverse=True):
        files = dict(read_rcc(bundle))
        activity = PurePosixPath(path).stem
        folder = f"gcompris/src/activities/{activity}/resource"
        boards = [name for name in files if re.fullmatch(rf"{folder}/board/board\d+_0\.qml", name)]
        for name in sorted(boards, key=_board_number):
            if activity == "details" and _board_number(name) > _PAINTINGS_IN_DETAILS:
                continue
            title, objects = read_board(files[name].decode("utf-8", "replace"))
            yield title, assemble(objects, files, folder)


def _board_number(path: str) -> int:
    return int(path.rsplit("board", 1)[1].split("_")[0])


def painting_drawings(package: Path) -> Iterator[Drawing]:
    """The thirty works as drawings; the captions name the work, the artist and the year."""
    for title, image in painting_images(package):
        parts = _LATE.match(title)
        artist, work, year = (parts[1], parts[2], parts[3] or "") if parts else ("unknown", title, "")
        artist = _SPELLING.get(artist, artist)
        packed = io.BytesIO()
        image.save(packed, "PNG", compress_level=1)
        name = work.strip()
        yield Drawing(
            slug=slug(f"{artist}-{work}"),
            concept="painting-" + slug(f"{artist} {name}"),
            name=name,
            captions={"en": unique([name, f"{name} by {artist}", artist, year])},
            style=_STYLES.get(artist, "painting"),
            source="paintings",
            licence="GPL-3.0-or-later",
            author=f"{artist}; scan: WebMuseum, GCompris",
            data=packed.getvalue(),
            kind="raster",
            fit="fill",
        )
