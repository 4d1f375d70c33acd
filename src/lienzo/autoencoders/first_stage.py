"""What diffusion, painting and transformers ask of an autoencoder: the seam of all latent spaces."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lienzo.core.errors import BadInput


@runtime_checkable
class FirstStage(Protocol):
    """An autoencoder whose latents are pictures of `channels` channels, `factor` times smaller."""

    @property
    def factor(self) -> int:
        """Pixels a side of the picture for each position of the latent."""

    @property
    def channels(self) -> int:
        """Channels of the latent."""

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to latents (B, channels, H / factor, W / factor) of about unit variance.

        With a `generator`, a stage that encodes to a distribution draws from it; without, it gives the mean.
        """

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to images in about [-1, 1]; differentiable."""


@runtime_checkable
class DiscreteStage(FirstStage, Protocol):
    """A first stage with a codebook: `decode` moves each latent to its nearest code, gradients pass straight."""

    @property
    def codebook(self) -> Tensor:
        """(N, channels), in the units of the latents."""

    def codes(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to the indices (B, H / factor, W / factor) of their codes."""

    def from_codes(self, codes: Tensor) -> Tensor:
        """Indices (B, h, w) to latents (B, channels, h, w)."""


def check_images(images: Tensor, channels: int, factor: int) -> None:
    """Refuse what cannot be encoded.

    Raises:
        BadInput: not (B, channels, H, W), or smaller than one position of the latent.
    """
    if images.ndim != 4 or images.shape[1] != channels:
        raise BadInput(
            f"This autoencoder takes pictures as (batch, {channels}, height, width), not {tuple(images.shape)}."
        )
    if min(images.shape[2:]) < factor:
        raise BadInput(
            f"This autoencoder makes pictures {factor} times smaller, so they need at least {factor} pixels a side; "
            f"{images.shape[3]}x{images.shape[2]} is too small."
        )


def check_latents(latents: Tensor, channels: int) -> None:
    """Refuse what cannot be decoded.

    Raises:
        BadInput: not (B, channels, h, w).
    """
    if latents.ndim != 4 or latents.shape[1] != channels:
        raise BadInput(
            f"The latents of this autoencoder are (batch, {channels}, height, width), not {tuple(latents.shape)}."
        )
