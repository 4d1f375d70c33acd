"""CLIP's preprocessing against Pillow, which its training used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.clip.picture_settings import CLIP_MEAN, CLIP_STD
from lienzo.clip.preprocessing import normalise, preprocess
from lienzo.core.errors import BadInput


@pytest.mark.parametrize("size", [(90, 61), (40, 77), (32, 32), (20, 15)], ids=str)
def test_as_pillow(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    short = min(size)
    new = (32 * size[0] // short, 32 * size[1] // short)
    picture = Image.fromarray(pixels).resize(new, Image.Resampling.BICUBIC)
    left, top = round((new[0] - 32) / 2), round((new[1] - 32) / 2)
    expected = np.asarray(picture.crop((left, top, left + 32, top + 32)), dtype=np.float32) / 255
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    found = preprocess(images, 32)[0].permute(1, 2, 0) * torch.tensor(CLIP_STD) + torch.tensor(CLIP_MEAN)
    # Pillow rounds to 8 bits after each of its two passes.
    assert np.abs(found.numpy() - expected).max() < 1.6 / 255


def test_normalise() -> None:
    white = normalise(torch.ones(2, 3, 1, 1))
    assert torch.allclose(white[0, :, 0, 0], torch.tensor([1.9303, 2.0749, 2.1459]), atol=1e-3)


def test_gradients_reach_the_picture() -> None:
    images = torch.rand(1, 3, 50, 40).mul(0.5).add(0.25).requires_grad_()
    preprocess(images, 16).square().sum().backward()
    assert images.grad is not None
    assert (images.grad[:, :, 10:40] != 0).all()


def test_wrong_shapes() -> None:
    for shape in ((3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8)):
        with pytest.raises(BadInput, match="shape"):
            preprocess(torch.zeros(shape), 8)
