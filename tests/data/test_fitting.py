import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lienzo.data.fitting import Fit, Resized


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.integers(1, 64),
    crop=st.sampled_from(["centre", "pad"]),
)
def test_any_shape_becomes_the_square(width, height, size, crop) -> None:
    fit = Fit(width, height, size, crop)
    red = fit.picture(Image.new("RGB", (width, height), (255, 0, 0)))
    assert red.shape == (size, size, 3)
    assert red.dtype == np.uint8
    covered = (np.abs(red.astype(int) - [255, 0, 0]) <= 1).all(-1)  # Pillow's box means round down for large factors
    assert covered.sum() == fit.scaled[0] * fit.scaled[1]
    assert (red[~covered] == 255).all()  # white borders
    assert crop == "pad" or covered.all()
    classes = fit.indices(np.full((height, width), 7, np.uint8))
    assert np.array_equal(classes == 7, covered)
    assert fit.enlarges == (size > (min if crop == "centre" else max)(width, height))


def test_what_is_cut_and_where_it_lies() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = [0, 200, 0]
    pixels[:, :10] = [200, 0, 0]
    image = Image.fromarray(pixels)
    assert np.abs(Fit(40, 20, 10).picture(image)[:, 3:-3].astype(int) - [0, 200, 0]).max() <= 2
    assert np.array_equal(Fit(40, 20, 20).picture(image), pixels[:, 10:30])
    padded = Fit(40, 20, 40, "pad").picture(image)
    assert np.array_equal(padded[10:30], pixels)
    assert (padded[:10] == 255).all()
    assert (padded[30:] == 255).all()


@pytest.mark.parametrize("crop", ["centre", "pad"])
@pytest.mark.parametrize(("width", "height"), [(750, 1101), (400, 300), (64, 64)])
def test_points_and_maps_stay_on_what_they_mark(width, height, crop) -> None:
    x, y = width // 2 - 20, height // 2 + 15
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y - 8 : y + 9, x - 8 : x + 9] = 255
    fit = Fit(width, height, 128, crop)
    (placed,) = fit.points(np.array([[x + 0.5, y + 0.5]]))
    bright = fit.picture(Image.fromarray(pixels))[..., 0] > 127
    if crop == "pad":
        bright &= fit.indices(np.ones((height, width), np.uint8)) > 0
    rows, columns = np.nonzero(bright)
    assert abs(columns.mean() + 0.5 - placed[0]) < 0.6
    assert abs(rows.mean() + 0.5 - placed[1]) < 0.6
    classes = fit.indices(pixels[..., 0])
    assert (classes[bright] > 0).mean() > 0.9


def test_classes_are_never_mixed() -> None:
    classes = np.random.default_rng(0).choice(np.array([0, 3, 17], np.uint8), (50, 70))
    for size in (20, 100):
        assert set(np.unique(Fit(70, 50, size).indices(classes))) <= {0, 3, 17}


def test_resized_pictures_are_exact_means_or_close() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), np.uint8)
    small = Resized(images, 8)
    assert small.shape == (5, 8, 8, 3)
    means = images[[3, 1]].reshape(2, 8, 3, 8, 3, 3).astype(float).mean((2, 4))
    assert np.abs(small[np.array([3, 1])] - means).max() < 0.6
    assert np.array_equal(small[2], small[np.array([2])][0])
    assert small[np.array([], int)].shape == (0, 8, 8, 3)
    flat = Resized(np.full((2, 24, 24, 3), 90, np.uint8), 10)[np.arange(2)]
    assert flat.shape == (2, 10, 10, 3)
    assert (flat == 90).all()
