"""A CLIP while it is trained: what its forward pass hands to the loss, locked towers, gradient caching."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.clip.caching import in_chunks
from lienzo.clip.model import CLIP, load

TOWERS = ("image", "text")
SIGMOID_SCALE, SIGMOID_BIAS = math.log(10), -10.0  # where SigLIP begins, so that nearly all pairs are wrong at first


class Embedded(NamedTuple):
    """What a forward pass gives.

    Attributes:
        pictures: unit vectors (B, D).
        texts: unit vectors (B, D).
        logit_scale: logarithm of the cosines' scale, a scalar.
        logit_bias: of SigLIP, a scalar.
        imitation: unit vectors (B, T) that a teacher's should equal.
    """

    pictures: Tensor
    texts: Tensor
    logit_scale: Tensor
    logit_bias: Tensor | None = None
    imitation: Tensor | None = None


class PairedClip(CLIP):
    """A `CLIP` whose forward pass gives the embeddings apart, so that those of other processes can join them.

    Args:
        config: arguments of `CLIP`.
        sigmoid: begin with SigLIP's scale, and have its bias.
        locked: towers, of `TOWERS`, that do not learn; their batch norms keep their figures.
        teacher_dim: width T of a teacher's vectors, or None.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        sigmoid: bool = False,
        locked: Collection[str] = (),
        teacher_dim: int | None = None,
    ):
        super().__init__(**config)
        self.locked = frozenset(locked)
        self.logit_bias = nn.Parameter(torch.tensor(SIGMOID_BIAS)) if sigmoid else None
        if sigmoid:
            nn.init.constant_(self.logit_scale, SIGMOID_SCALE)
        for name, parameter in self.named_parameters():
            tower = "image" if name.startswith("visual.") else "text"
            parameter.requires_grad_(tower not in self.locked or name in ("logit_scale", "logit_bias"))
        self.imitate = None
        if teacher_dim is not None:
            self.imitate = nn.Linear(self.config["embed_dim"], teacher_dim, bias=False)

    def train(self, mode: bool = True) -> Self:
        """As for any module, but locked towers stay in evaluation mode."""
        super().train(mode)
        if "image" in self.locked:
            self.visual.eval()
        if "text" in self.locked:
            self.transformer.eval()
        return self

    def forward(self, images: Tensor, tokens: Tensor, chunk: int | None = None) -> Embedded:  # type: ignore[override]
        """Embed pictures (B, 3, R, R) and texts (B, L), `chunk` at a time with cached gradients, or all at once."""

        def unit_pictures(rows: Tensor) -> Tensor:
            return F.normalize(self.encode_image(rows).float(), dim=-1)

        def unit_texts(rows: Tensor) -> Tensor:
            return F.normalize(self.encode_text(rows).float(), dim=-1)

        pictures = in_chunks(unit_pictures, images, chunk, self.visual)
        texts = in_chunks(unit_texts, tokens, chunk, self.transformer)
        imitation = None if self.imitate is None else F.normalize(self.imitate(texts).float(), dim=-1)
        return Embedded(pictures, texts, self.logit_scale, self.logit_bias, imitation)


def plain(model: nn.Module) -> CLIP:
    """The `CLIP` in a trained network, without what only training needs."""
    extra = ("logit_bias", "imitate.")
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(extra)}
    return load(state, model.config)  # type: ignore[arg-type]
