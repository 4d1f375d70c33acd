import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.data import paintings
from lienzo.data.opening import open_data
from lienzo.data.paintings import SEEN, assemble, read_board, surname, write_paintings
from lienzo.data.records import Drawing

BOARD = """
import QtQuick 2.12
QtObject {
   property string instruction: qsTr("Vincent van Gogh, The \\"Harvest\\" - 1888")
   property var levels: [
      {"pixmapfile": "image/bg.svg", "type": "SHAPE_BACKGROUND_IMAGE", "width": 40, "height": 20},
      {"pixmapfile": "image/a.png", "x": "0.25", "y": "0.5"},
      {"pixmapfile": "image/b.png", "x": "0.05", "y": "0.5"},
      {"pixmapfile": "image/a.png", "x": "0.99", "y": "0.5"}
   ]
}
"""


def picture(width: int, height: int, colour: tuple[int, int, int, int]) -> bytes:
    packed = io.BytesIO()
    Image.new("RGBA", (width, height), colour).save(packed, "PNG")
    return packed.getvalue()


def test_a_board_has_a_title_a_ground_and_pieces() -> None:
    title, objects = read_board(BOARD)
    assert title == 'Vincent van Gogh, The "Harvest" - 1888'
    assert [entry["pixmapfile"] for entry in objects] == ["image/bg.svg", "image/a.png", "image/b.png", "image/a.png"]
    assert (objects[0]["width"], objects[1]["x"]) == ("40", "0.25")
    for text in ("", 'qsTr("A, B - 1")', 'qsTr("A") levels []'):
        with pytest.raises(BadInput):
            read_board(text)


def test_pieces_lie_with_their_centres_on_shares_clamped_and_cut_off() -> None:
    files = {"f/image/a.png": picture(10, 20, (255, 0, 0, 255)), "f/image/b.png": picture(10, 10, (0, 0, 255, 255))}
    image = np.asarray(assemble(read_board(BOARD)[1], files, "f"))
    assert image.shape == (20, 40, 4)
    assert image[10, 0].tolist() == [0, 0, 255, 255]  # b: would begin at -3, laid at 0, over a from column 5
    assert image[10, 9].tolist() == [0, 0, 255, 255]
    assert image[10, 12].tolist() == [255, 0, 0, 255]  # a: columns 5-14
    assert image[2, 9].tolist() == [255, 0, 0, 255]
    assert image[0, 20, 3] == 0
    assert image[0, 39].tolist() == [255, 0, 0, 255]  # cut off at the right edge


def test_a_ground_without_a_size_is_the_picture_the_pieces_lie_on() -> None:
    files = {"f/ground.png": picture(30, 20, (0, 255, 0, 255)), "f/a.png": picture(4, 4, (255, 0, 0, 255))}
    objects = [{"pixmapfile": "ground.png"}, {"pixmapfile": "a.png", "x": "0.5", "y": "0.5"}]
    image = np.asarray(assemble(objects, files, "f"))
    assert image.shape == (20, 30, 4)
    assert image[10, 15].tolist() == [255, 0, 0, 255]
    assert image[0, 0].tolist() == [0, 255, 0, 255]


def test_an_implausible_board_is_refused() -> None:
    with pytest.raises(BadInput, match="size"):
        assemble([{"pixmapfile": "x", "width": "90000", "height": "2"}], {}, "f")


def test_the_works_are_written_by_artist_with_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def drawing(slug: str, name: str, artist: str) -> Drawing:
        packed = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (80, 120, 3), np.uint8)).save(packed, "PNG")
        captions = {"en": [name, f"{name} by {artist}", artist]}
        return Drawing(
            slug, slug, name, captions, "painting", "paintings", "x", artist, packed.getvalue(), "raster", "fill"
        )

    works = [
        drawing("katsushika-hokusai-poppies", "Poppies", "Katsushika Hokusai"),
        drawing("vincent-van-gogh-the-harvest", "The Harvest", "Vincent van Gogh"),
    ]
    monkeypatch.setattr(paintings, "painting_drawings", lambda package: iter(works))
    assert write_paintings(Path("package"), tmp_path / "paintings") == 2
    data = open_data(str(tmp_path / "paintings"), 64)
    assert data.names == ("hokusai/katsushika-hokusai-poppies.png", "van gogh/vincent-van-gogh-the-harvest.png")
    assert data.captions == (("orange poppies, flowers", "Poppies"), ("a wide field with farms", "The Harvest"))


def test_artists_are_called_as_styles_are() -> None:
    assert [surname(name) for name in ("Katsushika Hokusai", "Vincent Van Gogh", "Leonardo da Vinci", "Bazille")] == [
        "hokusai", "van gogh", "da vinci", "bazille",
    ]  # fmt: skip
    assert len(SEEN) == 30
