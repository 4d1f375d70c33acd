from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lienzo.clip.model import CLIP
from lienzo.clip.preprocessing import normalise
from lienzo.guidance.perceptor import TowerPerceptor, clip_perceptor


class Towers:
    def encode_image(self, images: Tensor) -> Tensor:
        assert images.shape[-2:] == (8, 8)
        return images.mean((2, 3))

    def encode_text(self, texts: Tensor) -> Tensor:
        return texts


def numbers(texts: list[str]) -> Tensor:
    return torch.tensor([[float(len(text))] * 3 for text in texts])


def test_pictures_are_resized_and_normalised() -> None:
    perceptor = TowerPerceptor(Towers(), numbers, 8)
    pictures = torch.rand(2, 3, 20, 30, requires_grad=True)
    embeds = perceptor.encode_image(pictures)
    torch.testing.assert_close(embeds, normalise(pictures).mean((2, 3)), atol=0.05, rtol=0)
    (grad,) = torch.autograd.grad(embeds.sum(), pictures)
    assert grad.abs().sum() > 0
    assert perceptor.encode_text(["a", "bb"]).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_a_noisy_tower_is_told_the_noise() -> None:
    def noisy(images: Tensor, sigma: Tensor) -> Tensor:
        return images.mean((2, 3)) + sigma[:, None]

    perceptor = TowerPerceptor(Towers(), numbers, 8, prepare=lambda x: x, noisy_tower=noisy)
    grey = torch.full((2, 3, 8, 8), 0.5)
    assert perceptor.encode_image(grey, torch.tensor([1.0, 2.0]))[:, 0].tolist() == [1.5, 2.5]
    assert perceptor.encode_image(grey)[:, 0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("words", ["a red fox", "word " * 50])
def test_clip_is_a_perceptor(words: str) -> None:
    model = CLIP(
        embed_dim=8,
        image_resolution=16,
        vision_layers=1,
        vision_width=64,
        vision_patch_size=8,
        context_length=10,
        transformer_width=64,
        transformer_layers=1,
    ).eval()
    perceptor = clip_perceptor(model)
    assert perceptor.size == 16
    texts = perceptor.encode_text([words])
    assert texts.shape == (1, 8)
    assert not texts.requires_grad
    pictures = torch.rand(2, 3, 24, 24, requires_grad=True)
    (grad,) = torch.autograd.grad(perceptor.encode_image(pictures).sum(), pictures)
    assert (grad.flatten(1).norm(dim=1) > 0).all()
