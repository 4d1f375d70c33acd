"""Perceptors: networks that embed sentences and pictures in one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.clip.model import CLIP
from lienzo.clip.preprocessing import normalise
from lienzo.clip.tokenizer import tokenize


class Perceptor(Protocol):
    """Embeds text and pictures. `size` is the side, in pixels, of the square pictures that it judges best.

    It may also have `feature_maps`, which gives the inner maps (B, C, h, w) of pictures (B, 3, H, W) in [0, 1], the
    finest first, for losses that compare textures or shapes; and `noisy_tower`, not None where it is told of noise.
    """

    @property
    def size(self) -> int: ...

    def encode_text(self, texts: list[str]) -> Tensor:
        """(N, D) for N sentences."""
        ...

    def encode_image(self, picture: Tensor, sigma: Tensor | None = None) -> Tensor:
        """(B, D) for (B, 3, H, W) in [0, 1], differentiable.

        `sigma` (B,) is the noise in the picture, as noise over signal where the picture runs over [-1, 1];
        perceptors that know nothing of noise ignore it.
        """
        ...


class Towers(Protocol):
    """A picture tower and a text tower that embed into one space, as `lienzo.clip.model.CLIP` and `CompactClip`."""

    def encode_image(self, images: Tensor, /) -> Tensor: ...

    def encode_text(self, texts: Tensor, /) -> Tensor: ...


class TowerPerceptor:
    """Two towers as a perceptor.

    Args:
        model: the towers.
        read: sentences to what the text tower takes: token ids, or sentence vectors.
        size: side of the pictures that the image tower takes; others are resized (bicubic, antialiased).
        prepare: pictures in [0, 1] to what the image tower takes; CLIP's normalisation unless given.
        noisy_tower: for a noise-aware model, its image tower as a function of (prepared picture, sigma (B,)).
    """

    def __init__(
        self,
        model: Towers,
        read: Callable[[list[str]], Tensor],
        size: int,
        *,
        prepare: Callable[[Tensor], Tensor] = normalise,
        noisy_tower: Callable[[Tensor, Tensor], Tensor] | None = None,
    ):
        self.model = model
        self.read = read
        self.size = size
        self.prepare = prepare
        self.noisy_tower = noisy_tower
        maps: Callable[[Tensor], Sequence[Tensor]] | None = getattr(model, "stage_maps", None)
        if maps is not None:
            self.feature_maps: Callable[[Tensor], Sequence[Tensor]] = lambda pictures: maps(prepare(pictures))

    def encode_text(self, texts: list[str]) -> Tensor:
        with torch.no_grad():
            return self.model.encode_text(self.read(texts)).float()

    def encode_image(self, picture: Tensor, sigma: Tensor | None = None) -> Tensor:
        if picture.shape[-2:] != (self.size, self.size):
            picture = F.interpolate(picture, (self.size, self.size), mode="bicubic", antialias=True)
        prepared = self.prepare(picture)
        if self.noisy_tower is None:
            return self.model.encode_image(prepared).float()
        return self.noisy_tower(prepared, picture.new_zeros(len(picture)) if sigma is None else sigma).float()


def clip_perceptor(model: CLIP) -> TowerPerceptor:
    """A CLIP as a perceptor; sentences above its context length are cut."""

    def read(texts: list[str]) -> Tensor:
        return tokenize(texts, model.config["context_length"], truncate=True).to(model.logit_scale.device)

    return TowerPerceptor(model, read, model.config["image_resolution"])
