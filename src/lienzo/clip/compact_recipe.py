"""Training a compact CLIP on captioned drawings with multi-positive targets and a style head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lienzo.clip.compact import CompactClip
from lienzo.clip.losses import multi_positive
from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.training.recipe import Recipe


@dataclass
class CaptionedPictures:
    """Pictures with every caption's sentence vector, packed for fast batches.

    Attributes:
        images: (N, S, S, 3) uint8.
        concept: (N,) what is shown, as an index; pictures of one concept are all right answers to its captions.
        style: (N,) index of the style.
        caption_rows: for each picture, the rows of `vectors` that caption it.
        names_style: (rows,) whether a caption names the style, so that only pictures in it are right.
        vectors: (rows, 384) sentence vectors.
    """

    images: np.ndarray
    concept: Tensor
    style: Tensor
    caption_rows: list[np.ndarray]
    names_style: Tensor
    vectors: Tensor

    @cached_property
    def fingerprint(self) -> str:
        """Changes when any of it does."""
        known = (self.concept, self.style, self.names_style, self.vectors)
        return fingerprint(self.images, *(part.numpy() for part in known), *self.caption_rows)


def augment(images: Tensor, size: int, generator: Generator) -> Tensor:
    """Small affine changes, mirror, pale background, brightness, blur and noise; (B, 3, S, S) to (B, 3, size, size).

    No change of hue: captions name colours.
    """
    b = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(b, *shape, generator=generator)

    angle, scale, flip = uniform(-0.2, 0.2), uniform(0.85, 1.25), torch.sign(uniform(-1, 1))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift = uniform(-0.12, 0.12, 2)
    theta = torch.stack([flip * cos, -sin, shift[:, 0], flip * sin, cos, shift[:, 1]], 1).view(b, 2, 3)
    small = F.interpolate(images, (size, size), mode="bilinear", antialias=True) - 1
    x = 1 + F.grid_sample(small, F.affine_grid(theta, [b, 3, size, size], False), align_corners=False)
    tint = 1 - 0.35 * uniform(0, 1, 3, 1, 1) * (torch.rand(b, 1, 1, 1, generator=generator) < 0.4)
    x = x * tint * uniform(0.85, 1.1, 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.where(torch.rand(b, 1, 1, 1, generator=generator) < 0.25, blurred, x)
    noise = uniform(0, 0.08, 1, 1, 1) * torch.randn(x.shape, generator=generator)
    return (x + noise).clamp(0, 1)


class ScaledCompactClip(CompactClip):
    """A `CompactClip` whose forward pass hands out the temperature too, as a wrapped network gives only outputs."""

    def forward(self, images: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Picture vectors, text vectors, style logits, and the scale of the cosines in [1, 100]."""
        return *super().forward(images, vectors), self.logit_scale.clamp(0, math.log(100)).exp()


class CompactClipRecipe(Recipe):
    """The compact CLIP's recipe.

    Args:
        data: training pictures.
        held: withheld pictures for `evaluate`.
        config: arguments of `CompactClip`.
        batch_size: pictures of one forward pass.
        seed: of the order of the pictures.
    """

    name = "compact-clip"
    network = "compact-clip"

    def __init__(
        self,
        data: CaptionedPictures,
        held: CaptionedPictures,
        config: dict[str, Any],
        batch_size: int = 256,
        *,
        seed: int = 0,
    ):
        self.data, self.held, self.config = data, held, config
        self.batch_size, self.seed = batch_size, seed

    def build(self) -> nn.Module:
        return ScaledCompactClip(**self.config)

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"config": self.config, "data": self.data.fingerprint}

    def batch(self, start: int, generator: Generator) -> dict[str, Tensor]:
        data = self.data
        rows = torch.from_numpy(rows_at(len(data.images), start, self.batch_size, self.seed))
        choice = torch.rand(self.batch_size, generator=generator).tolist()
        captions = torch.tensor(
            [data.caption_rows[r][int(c * len(data.caption_rows[r]))] for r, c in zip(rows.tolist(), choice)]
        )
        images = torch.from_numpy(data.images[rows.numpy()]).permute(0, 3, 1, 2).float() / 255
        same = data.concept[rows][:, None] == data.concept[rows][None]
        same_style = data.style[rows][:, None] == data.style[rows][None]
        right = same & (same_style | ~data.names_style[captions][None])  # picture i, caption j
        return {
            "images": augment(images, self.config.get("size", 32), generator),
            "vectors": data.vectors[captions].float(),
            "right": right,
            "style": data.style[rows],
        }

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        picture, text, style, scale = model(batch["images"], batch["vectors"])
        contrast = multi_positive(scale * picture @ text.T, batch["right"])
        return {"contrast": contrast, "style": 0.2 * F.cross_entropy(style.float(), batch["style"])}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Text-to-image recall at 1, 5, 10 and median rank among all withheld pictures, and style accuracy."""
        return retrieval(model, self.held) if len(self.held.images) else {}


@torch.no_grad()
def retrieval(model: nn.Module, data: CaptionedPictures) -> dict[str, float]:
    """One caption a picture (its first that names the style); any picture of that concept and style is right."""
    device = next(model.parameters()).device
    pictures = [part.to(device).float() / 255 for part in torch.from_numpy(data.images).permute(0, 3, 1, 2).split(256)]
    parts = [model.encode_image(part) for part in pictures]  # type: ignore[operator]
    style = torch.cat([model.style_head(model.features(part)) for part in pictures]).cpu()  # type: ignore[operator]
    styled = [next((r for r in rows if data.names_style[r]), rows[0]) for rows in data.caption_rows]
    text = model.encode_text(data.vectors[torch.tensor(styled)].float().to(device))  # type: ignore[operator]
    scores = (text @ torch.cat(parts).T).cpu()
    right = (data.concept[:, None] == data.concept[None]) & (data.style[:, None] == data.style[None])
    best = scores.masked_fill(~right, -2).max(1, keepdim=True).values
    rank = 1 + ((scores > best) & ~right).sum(1)
    figures = {f"R@{k}[text-to-image,n={len(rank)}]": (rank <= k).float().mean().item() for k in (1, 5, 10)}
    figures["median rank"] = rank.float().median().item()
    figures["style accuracy"] = (style.argmax(1) == data.style).float().mean().item()
    return figures
