"""The resizings of metrics against their definitions, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.metrics.nets import resizing
from lienzo.metrics.nets.resizing import PIL_FILTERS, RESIZES, pil_resize, tf1_bilinear

PICTURES = torch.randint(0, 256, (2, 3, 9, 14), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_tf1_places_pixels_without_half_pixel_centres() -> None:
    x = PICTURES.float()
    found = tf1_bilinear(x, (5, 20))
    for row in range(5):
        for column in range(20):
            y, z = row * 9 / 5, column * 14 / 20
            top, left = int(y), int(z)
            below, right = min(top + 1, 8), min(left + 1, 13)
            upper = x[..., top, left] * (1 - z + left) + x[..., top, right] * (z - left)
            lower = x[..., below, left] * (1 - z + left) + x[..., below, right] * (z - left)
            wanted = upper * (1 - y + top) + lower * (y - top)
            torch.testing.assert_close(found[..., row, column], wanted, rtol=1e-5, atol=1e-3)
    assert torch.equal(tf1_bilinear(x, (9, 14)), x)


def test_each_protocol_scales_as_its_original() -> None:
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 6).contiguous()
    wanted = {"pytorch-fid": (-1, 1), "legacy_pytorch": (-1, 1)}
    for name in RESIZES:
        found = RESIZES.load(name)(black_and_white)
        low, high = wanted.get(name, (-1, 127 / 128))
        assert found.shape == (2, 3, 299, 299), name
        assert found.dtype == torch.float32, name
        torch.testing.assert_close(found, torch.tensor([low, high]).view(2, 1, 1, 1).expand_as(found).float())


def test_which_protocols_agree() -> None:
    found = {name: RESIZES.load(name)(PICTURES, 6) for name in RESIZES}
    assert torch.equal(found["tf"], found["legacy_tensorflow"])
    torch.testing.assert_close(found["pytorch-fid"], found["legacy_pytorch"], rtol=0, atol=1e-5)
    for a, b in (("pytorch-fid", "tf"), ("tf", "clean"), ("clean", "pytorch-fid")):
        assert (found[a] - found[b]).abs().max() > 0.1, (a, b)


def test_clean_is_pillow_on_floats() -> None:
    found = resizing.clean(PICTURES, 5)
    for i in range(2):
        for channel in range(3):
            array = PICTURES[i, channel].numpy().astype(np.float32)
            wanted = np.asarray(Image.fromarray(array).resize((5, 5), Image.Resampling.BICUBIC)).clip(0, 255)
            np.testing.assert_allclose(found[i, channel], (wanted - 128) / 128, atol=1e-6)


def test_pil_resize() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, 1::2] = 255
    assert pil_resize(picture, (2, 3), "box").tolist() == np.full((2, 3, 3), 127.5).tolist()
    quantized = pil_resize(picture, (2, 3), "box", quantize=True)
    assert quantized.dtype == np.uint8
    assert set(quantized.ravel().tolist()) <= {127, 128}
    for name in PIL_FILTERS:
        assert pil_resize(picture, (7, 5), name).shape == (7, 5, 3)
    with pytest.raises(BadInput, match="no filter 'cubic'; choose one of nearest, box"):
        pil_resize(picture, (2, 3), "cubic")


def test_squares_are_antialiased_and_in_range() -> None:
    stripes = torch.zeros(1, 3, 64, 48, dtype=torch.uint8)
    stripes[..., ::2] = 255
    for resize in (resizing.square_bicubic, resizing.square_bilinear):
        small = resize(stripes, 8)
        assert small.shape == (1, 3, 8, 8)
        assert (small[..., 1:-1] - 0.5).abs().max() < 0.05
        large = resize(stripes[..., :4, :4], 32)
        assert large.min() >= 0
        assert large.max() <= 1
    assert resizing.cmmd(stripes[..., :4, :4], 32).max() > 1  # overshoots, as its original
    assert resizing.cmmd(stripes, 9).std() > 0.2 > 10 * resizing.square_bicubic(stripes, 9)[..., 1:-1].std()
