"""DeepFashion-MultiModal, on folders of its layout that the tests draw themselves."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from drawn import encoded, plain, write

from lienzo.core.errors import BadInput
from lienzo.data.deepfashion import COLOR, FABRIC, PARTS, SHAPE, DeepFashion
from lienzo.data.opening import open_data
from lienzo.data.splits import split_of

WIDTH, HEIGHT = 75, 110
STEMS = [f"MEN-Denim-id_{person:08}-{view:02}_7_additional" for person in range(30) for view in (1, 2)]
FIRST = next(stem for stem in STEMS if split_of(stem[:21]) == "train")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[20:60, 10:60] = 1
    classes[60:100, 20:50] = 23
    parsing = Image.fromarray(classes, "P")
    parsing.putpalette([value for number in range(256) for value in (255 - number, number, 7)])
    dense = np.dstack([classes, classes * 3, classes * 5])
    points = [[10 + k, 20 + k] for k in range(20)] + [[-1, -1]]
    names = [f"{stem}.jpg" for stem in STEMS]
    return write(
        tmp_path,
        {
            **{f"images/{name}": plain(row, WIDTH, HEIGHT, "JPEG") for row, name in enumerate(names)},
            f"segm/{FIRST}_segm.png": encoded(parsing),
            f"densepose/{FIRST}_densepose.png": encoded(Image.fromarray(dense)),
            "keypoints/keypoints_loc.txt": f"{FIRST}.jpg {' '.join(str(x) for point in points for x in point)}\n",
            "keypoints/keypoints_vis.txt": f"{FIRST}.jpg {' '.join(['0', '1'] * 10 + ['2'])}\n",
            "labels/shape/shape_anno_all.txt": "".join(f"{name} {' '.join(map(str, range(12)))}\n" for name in names),
            "labels/texture/fabric_ann.txt": f"{FIRST}.jpg 0 1 7\n",
            "labels/texture/pattern_ann.txt": f"{FIRST}.jpg 3 4 7\n",
            "captions.json": json.dumps({f"{FIRST}.jpg": "A man in denim. ", "gone.jpg": "x"}),
        },
    )


def test_everything_of_one_picture(folder: Path) -> None:
    data = DeepFashion(folder)
    item = data.item(data.names.index(f"{FIRST}.jpg"))
    assert item["image"].shape == (HEIGHT, WIDTH, 3)
    assert np.unique(item["parsing"]).tolist() == [0, 1, 23]
    assert item["parsing"][30, 30] == 1  # the class, not the grey of its colour
    assert item["densepose"][80, 30].tolist() == [23, 69, 115]
    assert item["keypoints"][3].tolist() == [13, 23]
    assert item["keypoints"][20].tolist() == [-1, -1]
    assert item["visibility"].tolist() == [0, 1] * 10 + [2]
    assert item["shape"].tolist() == list(range(12))
    assert (item["fabric"].tolist(), item["color"].tolist()) == ([0, 1, 7], [3, 4, 7])
    assert item["caption"] == "A man in denim."
    assert (len(PARTS), len(SHAPE), len(FABRIC), len(COLOR)) == (24, 12, 8, 8)
    other = data.item(data.names.index(next(name for name in data.names if not name.startswith(FIRST))))
    missing = ("parsing", "densepose", "keypoints", "visibility", "fabric", "color", "caption")
    assert all(other[key] is None for key in missing)
    assert other["shape"] is not None


@pytest.mark.parametrize("crop", ["pad", "centre"])
def test_maps_and_points_follow_the_picture(folder: Path, crop: str) -> None:
    data = DeepFashion(folder)
    item = data.item(data.names.index(f"{FIRST}.jpg"), size=40, crop=crop)
    assert item["image"].shape == item["densepose"].shape == (40, 40, 3)
    assert item["parsing"].shape == (40, 40)
    scale = 40 / (HEIGHT if crop == "pad" else WIDTH)
    offset = np.array([(40 - round(WIDTH * scale)) // 2, 0] if crop == "pad" else [0, -17 * scale])
    assert np.abs(item["keypoints"][3] - (np.array([13, 23]) * scale + offset)).max() < 0.2
    assert item["keypoints"][20].tolist() == [-1, -1]
    for x, y in item["keypoints"][3:20]:
        assert item["parsing"][int(y), int(x)] == 1
        assert item["densepose"][int(y), int(x)].tolist() == [1, 3, 5]


def test_pictures_of_one_outfit_stay_together(folder: Path) -> None:
    parts = {split: DeepFashion(folder, split).names for split in ("train", "val", "test")}
    people = {split: {name[:21] for name in names} for split, names in parts.items()}
    assert sum(map(len, parts.values())) == 60 == len(DeepFashion(folder, "all"))
    assert sum(map(len, people.values())) == 30
    assert len(parts["train"]) > 40


def test_it_trains_with_its_captions(folder: Path) -> None:
    data = open_data(str(folder), 16)
    row = data.names.index(f"{FIRST}.jpg")
    assert data.captions[row] == ("A man in denim.",)
    assert sum(map(len, data.captions)) == 1
    assert data.images[np.arange(len(data))].shape == (len(data), 16, 16, 3)
    (folder / "captions.json").unlink()
    assert open_data(str(folder), 16).captions == ()


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("keypoints/keypoints_loc.txt", "a.jpg 1 2 3\n", "Line 1 of 'keypoints_loc.txt' needs a name and 42 numbers"),
        ("labels/texture/fabric_ann.txt", "a.jpg 1 2 3\nb.jpg 1 x 3\n", "Line 2 of 'fabric_ann.txt'"),
        ("labels/texture/pattern_ann.txt", b"\xff\xff", "not UTF-8"),
        ("captions.json", "{", "not JSON"),
        ("captions.json", "[1]", "needs the form"),
    ],
)
def test_broken_annotations(folder: Path, name: str, content: str | bytes, word: str) -> None:
    write(folder, {name: content})
    with pytest.raises(BadInput, match=word):
        DeepFashion(folder).item(0)


def test_a_parsing_in_colours_is_refused(folder: Path) -> None:
    write(folder, {f"segm/{FIRST}_segm.png": plain(1, WIDTH, HEIGHT)})
    data = DeepFashion(folder)
    with pytest.raises(BadInput, match="has colours where one number a pixel is needed"):
        data.item(data.names.index(f"{FIRST}.jpg"))
