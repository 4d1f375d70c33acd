"""A perceptor that sees nothing but the mean colour, so that what guidance should do is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0), "white": (1.0, 1.0, 1.0)}


class ColourPerceptor:
    """Embeds a picture as its mean colour about grey, and a colour's name as that colour."""

    def __init__(self, size: int = 8):
        self.size = size
        self.sigmas: list[Tensor | None] = []
        self.calls: list[int] = []

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.tensor([COLOURS[text] for text in texts]) - 0.5

    def encode_image(self, picture: Tensor, sigma: Tensor | None = None) -> Tensor:
        self.sigmas.append(sigma)
        self.calls.append(len(picture))
        return picture.mean((2, 3)) - 0.5


@pytest.fixture
def perceptor() -> ColourPerceptor:
    return ColourPerceptor()
