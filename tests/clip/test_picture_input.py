"""Squares for the picture tower: cropped, squashed or letterboxed, without torch, in any process."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.clip.picture_input import PictureInput
from lienzo.clip.preprocessing import centre_crop, resize_short_side


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(width).integers(0, 256, (height, width, len(mode)), np.uint8)
    return Image.fromarray(values, mode).resize((width, height))


@pytest.mark.parametrize("size", [(40, 90), (91, 33), (24, 24), (10, 13)])
def test_crop_is_what_the_tensor_preprocessing_does(size: tuple[int, int]) -> None:
    picture = noise(*size)
    found = PictureInput(24)(picture)
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    expected = centre_crop(resize_short_side(tensor, 24), 24)[0].permute(1, 2, 0).numpy() * 255
    assert found.shape == (24, 24, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() < 1.6  # Pillow rounds after each of its two passes


def test_letterbox_keeps_the_whole_picture_on_white() -> None:
    red = Image.new("RGB", (60, 30), (200, 0, 0))
    square = PictureInput(32, "letterbox", "bilinear")(red)
    assert (square[8:24] == (200, 0, 0)).all()
    assert (square[:8] == 255).all()
    assert (square[24:] == 255).all()
    assert (PictureInput(32, "squash")(red) == (200, 0, 0)).all()


def test_transparent_parts_are_white() -> None:
    clear = Image.new("RGBA", (9, 9), (0, 0, 0, 0))
    palette = Image.new("P", (9, 9), 0)
    palette.putpalette([0, 0, 0])
    palette.info["transparency"] = 0
    for picture in (clear, clear.convert("LA"), palette):
        for shape in ("crop", "squash", "letterbox"):
            assert (PictureInput(8, shape)(picture) == 255).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("size", [(1, 60000), (60000, 1), (1, 1), (3, 2)])
def test_extreme_pictures_cost_little(shape: str, size: tuple[int, int]) -> None:
    assert PictureInput(224, shape)(Image.new("RGB", size)).shape == (224, 224, 3)  # type: ignore[arg-type]


def test_grey_and_sixteen_bit_pictures() -> None:
    assert (PictureInput(4)(Image.new("L", (5, 6), 77)) == 77).all()
    assert PictureInput(4)(Image.new("1", (5, 6))).shape == (4, 4, 3)


def test_tags_tell_settings_apart_and_instances_travel() -> None:
    made = {PictureInput(n, s, f).tag for n in (8, 9) for s in ("crop", "squash") for f in ("bicubic", "bilinear")}  # type: ignore[arg-type]
    assert len(made) == 8
    own = PictureInput(8, "letterbox")
    again = pickle.loads(pickle.dumps(own))
    assert again == own
    assert (again(noise(20, 30)) == own(noise(20, 30))).all()


def test_needs_no_torch() -> None:
    code = "import sys, lienzo.clip.picture_input; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
