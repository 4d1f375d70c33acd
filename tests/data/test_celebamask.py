"""CelebAMask-HQ, on folders of its layout that the tests draw themselves."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from drawn import centre, colour_of, encoded, plain, write

from lienzo.core.errors import BadInput, BadPicture
from lienzo.data.celebamask import PARTS, CelebAMaskHQ
from lienzo.data.opening import open_data

NAMES = tuple(f"Attribute_{number}" for number in range(40))
ORIGINALS = {0: 119613, 1: 162769, 2: 162770, 5: 182636, 2003: 182637, 29999: 3}


def part(box: tuple[int, int, int, int], mode: str = "L") -> bytes:
    image = Image.new(mode, (64, 64))
    image.paste(255 if mode == "L" else (255, 255, 255), box)
    return encoded(image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    signs = {number: [1 if (number + k) % 3 == 0 else -1 for k in range(40)] for number in ORIGINALS}
    masks = "CelebAMask-HQ-mask-anno"
    lines = [f"{number}.jpg  {' '.join(map(str, row))}" for number, row in signs.items()]
    mapping = [f"{n:<8}{original:<14}{original + 1:06}.jpg" for n, original in ORIGINALS.items()]
    pictures = {f"CelebA-HQ-img/{n}.jpg": plain(n % 9, 128, 128, "JPEG", quality=95) for n in ORIGINALS}
    return write(
        tmp_path,
        {
            **pictures,
            f"{masks}/0/00000_skin.png": part((8, 8, 56, 56)),
            f"{masks}/0/00000_nose.png": part((24, 24, 40, 40)),
            f"{masks}/0/00000_hair.png": part((0, 0, 64, 12), "RGB"),
            f"{masks}/1/02003_cloth.png": part((0, 50, 64, 64)),
            "CelebAMask-HQ-attribute-anno.txt": "\n".join([str(len(lines)), " ".join(NAMES), *lines]) + "\n",
            "CelebA-HQ-to-CelebA-mapping.txt": "\n".join(["idx     orig_idx      orig_file", *mapping]) + "\n",
        },
    )


def test_the_partition_is_that_of_celeba(folder: Path) -> None:
    assert CelebAMaskHQ(folder).names == ("0.jpg", "1.jpg", "29999.jpg")
    assert CelebAMaskHQ(folder, "val").names == ("2.jpg", "5.jpg")
    assert CelebAMaskHQ(folder, "test").names == ("2003.jpg",)
    assert len(CelebAMaskHQ(folder, "all")) == 6
    (folder / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    assert len(CelebAMaskHQ(folder)) == 6
    with pytest.raises(BadInput, match="not divided"):
        CelebAMaskHQ(folder, "test")


def test_parts_are_painted_in_their_order(folder: Path) -> None:
    assert len(PARTS) == 18
    item = CelebAMaskHQ(folder).item(0)
    assert item["name"] == "0.jpg"
    assert item["image"].shape == (128, 128, 3)
    expected = np.zeros((64, 64), np.uint8)
    expected[8:56, 8:56] = 1
    expected[24:40, 24:40] = 2
    expected[:12] = 13  # hair over skin
    assert np.array_equal(item["mask"], expected)
    small = CelebAMaskHQ(folder).item(0, size=32)
    assert np.array_equal(small["mask"], expected[1::2, 1::2])
    assert small["image"].shape == (32, 32, 3)
    cloth = CelebAMaskHQ(folder, "test").item(0)["mask"]
    assert set(np.unique(cloth)) == {0, 18}
    assert not CelebAMaskHQ(folder).item(1)["mask"].any()


def test_attributes(folder: Path) -> None:
    data = CelebAMaskHQ(folder)
    assert data.attribute_names == NAMES
    assert data.attributes.shape == (3, 40)
    assert data.item(2)["attributes"].tolist() == [(29999 + k) % 3 == 0 for k in range(40)]
    path = folder / "CelebAMask-HQ-attribute-anno.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3] + " 1", *lines[4:]]))
    with pytest.raises(BadInput, match=r"Line 4 of 'CelebAMask-HQ-attribute-anno\.txt' needs a name and 40 numbers"):
        CelebAMaskHQ(folder).item(0)
    path.write_text("\n".join(lines[:3]))
    with pytest.raises(BadInput, match=r"no line for 1\.jpg"):
        CelebAMaskHQ(folder).item(0)
    path.unlink()
    assert CelebAMaskHQ(folder).item(0)["attributes"] is None


def test_it_trains_like_any_other_data(folder: Path, tmp_path: Path) -> None:
    data = open_data(str(folder), 16, cache=tmp_path / ".cache")
    assert data.names == ("0.jpg", "1.jpg", "29999.jpg")
    assert np.abs(np.array(centre(data.images, 2)) - colour_of(29999 % 9)).max() <= 4
    assert (data.captions, data.labels) == ((), None)
    assert open_data(str(folder), 16, split="val").names == ("2.jpg", "5.jpg")


def test_broken_folders(folder: Path) -> None:
    (folder / "CelebA-HQ-img" / "0.jpg").write_bytes(b"x")
    with pytest.raises(BadPicture, match=r"0\.jpg"):
        CelebAMaskHQ(folder).item(0)
    write(folder, {"CelebA-HQ-to-CelebA-mapping.txt": "heading\n0 1\n"})
    with pytest.raises(BadInput, match=r"Line 2 of 'CelebA-HQ-to-CelebA-mapping\.txt'"):
        CelebAMaskHQ(folder)
    for path in (folder / "CelebA-HQ-img").iterdir():
        path.unlink()
    with pytest.raises(BadInput, match="no pictures in CelebA-HQ-img"):
        open_data(str(folder), 16)
