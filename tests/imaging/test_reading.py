"""Opening pictures: what is read is right, what is hostile is refused before it costs anything."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parent))
from pictures import encoded, gradient, header, png

from lienzo.core.errors import BadPicture
from lienzo.imaging.reading import Limits, from_tensor, load_indices, load_picture, open_picture, to_tensor


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(BadPicture) as caught:
        open_picture(source, **options)
    text = str(caught.value)
    assert text.startswith("The picture")
    assert text.endswith(".")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "AVIF", "JPEG"])
def test_formats(kind: str, tmp_path: Path) -> None:
    image = gradient()
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind in ("JPEG", "AVIF") else {}
    data = encoded(image, kind, **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    read = load_picture(path)
    assert read.shape == image.shape
    assert read.dtype == np.uint8
    assert np.array_equal(read, load_picture(data))
    tolerance = {"GIF": 40, "JPEG": 12, "AVIF": 30}.get(kind, 0)
    assert np.abs(read.astype(int) - image).mean() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = np.kron(np.arange(1, 7, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(np.dstack([block] * 3), kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    read = load_picture(data)
    assert read.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    assert np.array_equal(read, expected)


def test_transparent_parts_lie_on_white() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = [200, 0, 0, 255]
    rgba[1, 1] = [0, 0, 0, 128]
    data = encoded(rgba)
    assert load_picture(data)[0].tolist() == [[200, 0, 0], [255, 255, 255]]
    assert load_picture(data)[1, 1].tolist() == [127, 127, 127]
    assert np.array_equal(np.array(open_picture(data, mode="RGBA")), rgba)
    assert np.array(open_picture(data, mode="L"))[0, 1] == 255


def test_a_large_jpeg_is_decoded_smaller_when_that_is_enough() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(gradient(400, 900), "JPEG", exif=exif)
    assert [load_picture(data, at_least=size).shape for size in (None, 300, 200, 101, 100, 50, 9, 1)] == [
        *[(900, 400, 3)] * 2,
        *[(450, 200, 3)] * 2,
        (225, 100, 3),
        *[(113, 50, 3)] * 3,
    ]
    smooth = np.asarray(Image.fromarray(gradient(12, 16)).resize((512, 384), Image.Resampling.BICUBIC))
    small = load_picture(encoded(smooth, "JPEG", quality=95), at_least=96).astype(int)
    assert np.abs(small - np.asarray(Image.fromarray(smooth).reduce(4))).mean() < 3
    assert load_picture(encoded(gradient(400, 900)), at_least=50).shape == (400, 900, 3)
    assert "900 x 400" in refused(data, at_least=50, limits=Limits(pixels=100_000))
    for cut in (len(data) // 2, 300):
        refused(data[:cut], at_least=50)


def test_maps_of_classes_are_read_as_numbers(tmp_path: Path) -> None:
    classes = np.array([[0, 3, 17], [255, 1, 0]], np.uint8)
    palette = Image.fromarray(classes, "P")
    palette.putpalette([200, 100, 50] * 256)
    path = tmp_path / "map.png"
    path.write_bytes(encoded(palette))
    for source in (path, encoded(Image.fromarray(classes))):
        read = load_indices(source)
        assert read.dtype == np.uint8
        assert np.array_equal(read, classes)
    assert load_indices(encoded(Image.new("1", (2, 2), 1))).tolist() == [[1, 1], [1, 1]]
    for wrong in (gradient(), np.zeros((2, 2), np.uint16)):
        with pytest.raises(BadPicture, match="one number a pixel"):
            load_indices(encoded(wrong))
    with pytest.raises(BadPicture, match="broken or cut off"):
        load_indices(path.read_bytes()[:40])


def test_palettes_with_transparency_and_grey_with_alpha() -> None:
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert load_picture(encoded(palette, transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    grey = Image.fromarray(np.array([[[7, 255], [7, 0]]], np.uint8), "LA")
    assert load_picture(encoded(grey)).tolist() == [[[7] * 3, [255] * 3]]
    rgb = encoded(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), transparency=(4, 5, 6))
    assert load_picture(rgb).tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_deep_and_print_colours() -> None:
    sixteen = Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16))
    for kind in ("PNG", "TIFF"):
        assert load_picture(encoded(sixteen, kind))[0, :, 0].tolist() == [0, 100, 255]
    floats = Image.fromarray(np.array([[0.0, 0.5, 2.0, np.nan]], np.float32))
    assert load_picture(encoded(floats, "TIFF"))[0, :, 0].tolist() == [0, 128, 255, 0]
    cmyk = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    red = load_picture(encoded(cmyk, "JPEG", quality=95))[2, 2]
    assert red[0] > 200
    assert red[1:].max() < 60
    assert load_picture(encoded(Image.new("1", (3, 3), 1))).min() == 255


def test_a_profile_is_ignored_and_metadata_does_not_come_along() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = gradient()
    opened = open_picture(encoded(image, icc_profile=profile))
    assert np.array_equal(np.array(opened), image)
    assert opened.info == {}
    assert not opened.getexif()


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert load_picture(data)[0, 0].tolist() == [255, 0, 0], kind
        assert "frames" in refused(data, limits=Limits(frames=2)), kind


def test_other_suffixes_do_not_matter_but_other_contents_do(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(gradient(), "JPEG"))
    assert load_picture(path).shape == (24, 32, 3)
    for data, word in [
        (b"hello, this is text", "not a picture"),
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "vectors"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ]:
        path.write_bytes(data)
        assert word in refused(path)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "absent.png")
    assert "not a plain file" in refused(tmp_path) or "folder" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a plain file" in refused(tmp_path / "pipe")
    assert "cannot be opened" in refused(Path("a\0b"))
    assert "\x1b" not in refused(tmp_path / "\x1b]0;x\x07.png")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be opened" in refused(loop)


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert "Permission denied" in refused(tmp_path / "secret.png")


# -- bombs ----------------------------------------------------------------------------------------------------


def test_bombs_are_refused_before_they_are_decoded() -> None:
    bomb = png(header(60_000, 60_000), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    assert "pixels" in refused(bomb)
    assert "9000 x 9000" in refused(png(header(9000, 9000), (b"IDAT", b""), (b"IEND", b"")))
    bmp = bytearray(encoded(gradient(), "BMP"))
    bmp[18:26] = struct.pack("<2l", 50_000, 50_000)
    assert "pixels" in refused(bytes(bmp))
    gif = bytearray(encoded(gradient(), "GIF"))
    gif[6:10] = struct.pack("<2H", 65_535, 65_535)
    assert "pixels" in refused(bytes(gif))
    webp = b"RIFF" + struct.pack("<L", 22) + b"WEBPVP8X" + struct.pack("<L", 10) + bytes(4) + b"\xff" * 6
    assert "16777216 x 16777216" in refused(webp)
    simple = bytearray(encoded(gradient(), "WEBP", lossless=True))
    simple[21:25] = b"\xff\xff\xff\x0f"
    assert "16384 x 16384" in refused(bytes(simple))


def test_limits_are_the_callers() -> None:
    data = encoded(gradient())
    assert "32 x 24" in refused(data, limits=Limits(pixels=700))
    assert open_picture(data, limits=Limits(pixels=32 * 24)).size == (32, 24)
    assert "larger" in refused(data, limits=Limits(file_bytes=50))


def test_text_bombs() -> None:
    image = (b"IDAT", zlib.compress(b"\0" + bytes(6)))
    many = [(b"tEXt", b"a\0" + b"x" * 1_000_000)] * 5
    assert "text" in refused(png(header(2, 1), *many, image, (b"IEND", b"")))
    packed = (b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    assert "broken" in refused(png(header(2, 1), packed, image, (b"IEND", b"")))
    empty = [(b"tEXt", b"a\0")] * 110_000
    assert "parts" in refused(png(header(2, 1), *empty, image, (b"IEND", b"")))


def test_a_jpeg_of_many_scans() -> None:
    data = encoded(gradient(), "JPEG", progressive=True)
    scan = data.index(b"\xff\xda")
    end = data.index(b"\xff", scan + 2)
    while data[end + 1] == 0:
        end = data.index(b"\xff", end + 2)
    assert load_picture(data).shape == (24, 32, 3)
    assert "scans" in refused(data[:scan] + data[scan:end] * 300 + data[end:])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_truncated_and_changed_files(kind: str) -> None:
    data = encoded(gradient(), kind)
    for part in range(20):
        cut = data[: len(data) * part // 20]
        with contextlib.suppress(BadPicture):  # the last bytes of some formats are not needed
            open_picture(cut)
    refused(data[: len(data) // 2])
    generator = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(data)
        for place in generator.integers(0, len(data), 4):
            changed[place] = generator.integers(0, 256)
        with contextlib.suppress(BadPicture):
            open_picture(bytes(changed), limits=Limits(pixels=1_000_000))


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300), start=st.sampled_from(["", "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]))
def test_random_bytes(data: bytes, start: str) -> None:
    head = encoded(gradient(), start)[:40] if start else b""
    with contextlib.suppress(BadPicture):
        open_picture(head + data, limits=Limits(pixels=1_000_000))


def test_tensors() -> None:
    image = gradient()
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, 24, 32)
    assert tensor.dtype is torch.float32
    assert tensor[0, :, 3, 5].mul(255).round().tolist() == image[3, 5].tolist()
    assert to_tensor([image, image]).shape == (2, 3, 24, 32)
    assert np.array_equal(from_tensor(to_tensor(open_picture(encoded(image))))[0], image)
    assert np.array_equal(from_tensor(tensor[0]), image)
    odd = torch.tensor([-1.0, 0.0, 0.499, 0.5, 1.0, 7.0, float("nan"), float("inf")])
    assert from_tensor(odd.expand(3, 1, 8))[0, :, 0].tolist() == [0, 0, 127, 128, 255, 255, 0, 255]
