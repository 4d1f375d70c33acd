"""The latents of an autoencoder as a canvas: VQGAN+CLIP, and the same with a KL autoencoder."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.canvas import CodeCanvas
from lienzo.guidance.draws import Generators, normal

CALM = 0.3
"""Size of the noise that free latents start from; that of real pictures is 1, and shows as unrest."""
GREY, GRAIN = 0.5, 0.1
"""The picture whose codes are the start where there is a codebook, and the noise on it, which makes seeds differ."""


class Stage(Protocol):
    """What is asked of an autoencoder here; a discrete one also has `codebook` (N, channels).

    `encode` takes pictures (B, 3, H, W) in [-1, 1] to latents (B, channels, H / factor, W / factor), and `decode` takes
    them back, differentiably.
    """

    @property
    def factor(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


def code_canvas(
    stage: Stage,
    batch: int,
    height: int,
    width: int,
    *,
    start: Tensor | None = None,
    generators: Generators = None,
    device: torch.device | str = "cpu",
) -> CodeCanvas:
    """A canvas of an autoencoder's latents.

    Args:
        stage: the autoencoder, on `device`. With a codebook latents are rounded to its codes, straight-through.
        batch, height, width: of the pictures; the sides are multiples of its factor.
        start: (1 or B, 3, H, W) in [0, 1], encoded. Without it a grainy grey, or without a codebook calm noise.
        generators: where the grain or noise is drawn.
        device: where the latents lie.

    Raises:
        BadInput: a side is no multiple of the factor.
    """
    factor = stage.factor
    if height % factor or width % factor or not height or not width:
        near = " by ".join(str(max(round(side / factor), 1) * factor) for side in (width, height))
        raise BadInput(f"This autoencoder paints sides that are multiples of {factor}; {near} would do.")
    codebook: Tensor | None = getattr(stage, "codebook", None)
    if codebook is not None:
        codebook = codebook.detach().to(device)
        if start is None:
            start = (GREY + GRAIN * normal(generators, batch, 3, height, width)).clamp(0, 1)
    if start is not None:
        with torch.no_grad():
            latents = stage.encode(start.to(device).expand(batch, 3, height, width) * 2 - 1)
    else:
        latents = CALM * normal(generators, batch, stage.channels, height // factor, width // factor).to(device)
    # The canvas rounds to the codes itself; a second search for the nearest would find the same.
    decode = stage.decode if codebook is None else getattr(stage, "decode_unquantised", stage.decode)
    return CodeCanvas(decode, latents, codebook)
