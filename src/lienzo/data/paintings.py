"""The thirty paintings inside GCompris, put together again from the pieces of its jigsaw activities."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.data.archives import read_package
from lienzo.data.pictures import SIDE, square_pictures
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


SEEN = {
    "pierre-auguste-renoir-bal-du-moulin-de-la-galette": "people dancing in a garden",
    "giuseppe-arcimboldo-spring": "a face made of flowers",
    "giuseppe-arcimboldo-the-librarian": "a man made of books",
    "katsushika-hokusai-oiran-and-kamuro": "two women in red kimonos",
    "katsushika-hokusai-woman-holding-a-fan": "a woman with a fan",
    "katsushika-hokusai-ejiri-in-suruga-province": "people in the wind on a path by a lake, trees and a mountain",
    "katsushika-hokusai-the-great-wave-off-kanagawa": "a great wave, boats and a mountain",
    "utagawa-hiroshige-the-benzaiten-shrine-at-inokashira-in-snow": "a temple by a lake in the snow",
    "utagawa-hiroshige-horse-mackerel-and-prawn": "blue fish and shrimps",
    "katsushika-hokusai-viewing-sunset-over-the-ryogoku-bridge-from-t": "a bridge over a river and a boat with people",
    "katsushika-hokusai-poppies": "orange poppies, flowers",
    "katsushika-hokusai-kazusa-sea-route": "a sailing ship on the sea",
    "michelangelo-pieta": "a statue of a mother with her son",
    "leonardo-da-vinci-mona-lisa": "a portrait of a smiling woman",
    "giovanni-bellini-la-pala-di-pesaro": "a castle on a hill",
    "albrecht-durer-lion": "a lion",
    "pieter-bruegel-the-harvesters": "farmers resting under a tree by a wheat field",
    "pierre-auguste-renoir-girls-at-the-piano": "two girls at the piano",
    "wassily-kandinsky-composition-viii": "circles, lines and triangles",
    "bazille-the-ramparts-at-aigues-mortes": "a lake with a town wall in the distance",
    "mary-cassatt-summertime": "two women in a boat and ducks",
    "vincent-van-gogh-village-street-in-auvers": "a village street with houses",
    "vincent-van-gogh-entrance-hall-of-saint-paul-hospital": "a yellow hall with a door",
    "vincent-van-gogh-the-bridge-of-langlois-at-arles-with-a-lady-wit": "a drawbridge over a canal",
    "vincent-van-gogh-the-church-at-auvers-sur-oise": "a church under a dark blue sky",
    "vincent-van-gogh-painter-on-his-way-to-work": "a man walking on a road between trees",
    "vincent-van-gogh-the-harvest": "a wide field with farms",
    "vincent-van-gogh-cafe-terrace-at-night": "a cafe terrace at night",
    "vincent-van-gogh-the-night-cafe": "a cafe with a billiard table and lamps",
    "vincent-van-gogh-portrait-of-pere-tanguy": "a portrait of an old man with a hat",
}
"""What each work shows, in words that a painter of drawings knows."""


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


def write_paintings(package: Path, directory: Path) -> int:
    """The thirty works as a folder to train on: a folder for each artist, PNG files of `SIDE` pixels, captions beside.

    The first caption says what is seen, the second is the title.

    Returns:
        The number of works.
    """
    count = 0
    for count, drawing in enumerate(painting_drawings(package), 1):  # noqa: B007
        artist = drawing.captions["en"][2]
        folder = directory / surname(artist)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / f"{drawing.slug}.png") as work:
            work.write_bytes(square_pictures(drawing.data, drawing.kind, drawing.fit)[SIDE])
        with replacing(folder / f"{drawing.slug}.txt") as work:
            work.write_text(f"{SEEN[drawing.slug]}\n{drawing.name}\n", encoding="utf-8")
    return count


def surname(artist: str) -> str:
    """An artist's name as a style is called: "hokusai", "van gogh"."""
    words = artist.lower().split()
    return " ".join(words[-2:]) if words[-2:-1] in (["van"], ["da"]) else words[-1]
