import io

import numpy as np
import pytest
from PIL import Image

from lienzo.core.errors import BadPicture
from lienzo.data.pictures import decode_picture, square_pictures, without_outside_files

RECT = (
    '<svg xmlns="http://www.w3.org/2000/svg" {size}><rect x="{x}" y="{y}" width="{w}" height="{h}" fill="#d00"/></svg>'
)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def red_box(image: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(image[..., 1] < 100)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


@pytest.mark.parametrize(
    "size", ['viewBox="0 0 100 100"', 'width="100pt" height="100pt" viewBox="0 0 100 100"', 'width="100" height="100"']
)
def test_svg_is_cropped_to_what_is_drawn_and_centred_with_a_margin(size: str) -> None:
    pytest.importorskip("resvg_py")
    svg = RECT.format(size=size, x=60, y=70, w=10, h=5)
    found = square_pictures(svg.encode(), "svg", "whole")
    assert sorted(found) == [64, 128, 256]
    image = pixels(found[256])
    assert image.shape == (256, 256, 3)
    assert np.abs(np.subtract(red_box(image), (10, 69, 246, 187))).max() <= 1
    assert (image[0] == 255).all()


def test_smaller_sizes_are_box_means_of_the_large_one(make_png) -> None:
    found = square_pictures(make_png(90, 61, (200, 30, 10, 255)), "raster", "whole")
    large = pixels(found[256]).astype(float)
    for side in (128, 64):
        step = 256 // side
        mean = large.reshape(side, step, side, step, 3).mean((1, 3))
        np.testing.assert_allclose(pixels(found[side]), mean, atol=1.0)


def test_a_tall_picture_is_cut_nearer_its_top_and_a_wide_one_in_the_middle() -> None:
    tall = np.zeros((300, 100, 3), np.uint8)
    tall[50:150] = np.random.default_rng(0).integers(190, 230, (100, 100, 3))
    packed = io.BytesIO()
    Image.fromarray(tall).save(packed, "PNG")
    image = pixels(square_pictures(packed.getvalue(), "raster", "fill")[256])
    assert image[2:-2].min() > 150
    packed = io.BytesIO()
    Image.fromarray(np.pad(tall[50:150], ((0, 0), (100, 100), (0, 0)))).save(packed, "PNG")
    assert pixels(square_pictures(packed.getvalue(), "raster", "fill")[256])[:, 2:-2].min() > 150


def test_what_shows_nothing_is_refused(make_png) -> None:
    for data, reason in (
        (make_png(90, 90, (0, 0, 0, 0)), "empty"),
        (make_png(90, 90, (255, 255, 255, 255)), "nothing"),
        (make_png(20, 20, (255, 0, 0, 255)), "small"),
        (b"GIF89a", "not a picture"),
    ):
        with pytest.raises(BadPicture, match=reason):
            square_pictures(data, "raster", "whole")


@pytest.mark.parametrize("svg", ["", "<svg/>", "<svg xmlns='http://www.w3.org/2000/svg'/>", "no svg", "<svg width='0'"])
def test_broken_svg_is_refused(svg: str) -> None:
    pytest.importorskip("resvg_py")
    with pytest.raises(BadPicture):
        square_pictures(svg.encode(), "svg", "whole")


HIDING = (
    ("", '<image width="64" height="64" xlink:href="{path}"/>'),
    ("", "<image width='64' height='64' href = \n ' {path}'/>"),
    ("", '<image width="64" height="64" href="file://{path}"/>'),
    ('<!DOCTYPE svg [<!ENTITY p "{path}">]>', '<image width="64" height="64" href="&p;"/>'),
    ("<!DOCTYPE svg [<!ENTITY p \"<image width='64' height='64' hre&#102;='{path}'/>\">]>", "&p;"),
    ("", '<filter id="f"><feImage href="{path}"/></filter><rect width="64" height="64" filter="url(#f)"/>'),
)


@pytest.mark.parametrize(("before", "body"), HIDING)
def test_svg_opens_no_file_of_this_machine(tmp_path, make_png, before: str, body: str) -> None:
    pytest.importorskip("resvg_py")
    path = tmp_path / "secret.png"
    path.write_bytes(make_png(64, 64, (0, 0, 0, 255)))
    root = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 64 64">'
    svg = (before + root + body + "</svg>").replace("{path}", str(path))
    with pytest.raises(BadPicture):
        square_pictures(svg.encode(), "svg", "whole")


def test_links_within_a_drawing_and_plain_entities_stay() -> None:
    svg = (
        '<!DOCTYPE svg [<!ENTITY ns "http://example.org/">]>'
        '<svg xmlns:x="&ns;"><use href="#a"/><image href="data:image/png;base64,AA"/></svg>'
    )
    assert without_outside_files(svg) == svg
    assert without_outside_files('<image href="data:image/svg+xml,x"/>') == "<image href=''/>"


def test_a_picture_of_another_size_or_kind_does_not_decode(make_png) -> None:
    assert decode_picture(make_png(64, 64, (9, 8, 7, 255)), 64)[5, 5].tolist() == [9, 8, 7]
    for data in (make_png(65, 64, (0, 0, 0, 255)), b"junk", make_png(64, 64, (0, 0, 0, 255))[:60]):
        with pytest.raises(BadPicture):
            decode_picture(data, 64)
