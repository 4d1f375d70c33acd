"""Training a compact CLIP on captioned drawings with multi-positive targets and a style head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lienzo.clip.compact import CompactClip, from_imagenet
from lienzo.clip.losses import multi_positive
from lienzo.core.errors import BadInput
from lienzo.data.composed import Scene, paste
from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.training.recipe import Recipe

CONCEPT, STYLE, COLOUR = 1, 2, 4  # what a caption says


@dataclass
class CaptionedPictures:
    """Pictures with every caption's sentence vector, packed for fast batches.

    Attributes:
        images: (N, S, S, 3) uint8.
        concept: (N,) what is shown, as an index.
        style: (N,) index of the style.
        colour: (N,) index of its colour, -1 where no one colour is known.
        caption_rows: for each picture, the rows of `vectors` that caption it.
        says: (rows,) what a caption tells, a sum of `CONCEPT`, `STYLE` and `COLOUR`; every picture that agrees in all
            of it is a right answer.
        vectors: (rows, 384) sentence vectors.
    """

    images: np.ndarray
    concept: Tensor
    style: Tensor
    colour: Tensor
    caption_rows: list[np.ndarray]
    says: Tensor
    vectors: Tensor

    @cached_property
    def fingerprint(self) -> str:
        """Changes when any of it does."""
        known = (self.concept, self.style, self.colour, self.says, self.vectors)
        return fingerprint(self.images, *(part.numpy() for part in known), *self.caption_rows)

    def right(self, pictures: Tensor, captioned: Tensor, says: Tensor) -> Tensor:
        """Which pictures answer which captions, bool (P, C).

        Args:
            pictures: (P,) rows of pictures.
            captioned: (C,) the picture that each caption was given for.
            says: (C,) what each caption tells.
        """
        right = torch.ones(len(pictures), len(captioned), dtype=torch.bool)
        for bit, what in ((CONCEPT, self.concept), (STYLE, self.style), (COLOUR, self.colour)):
            right &= (what[pictures][:, None] == what[captioned][None]) | (says & bit == 0)[None]
        return right


@dataclass
class Scenes:
    """Pictures of several things, put together from the training pictures when they are needed.

    Attributes:
        layouts: what goes where.
        caption_rows: for each, the rows of `vectors` that caption it.
        vectors: (rows, 384) sentence vectors.
    """

    layouts: Sequence[Scene]
    caption_rows: list[np.ndarray]
    vectors: Tensor

    @cached_property
    def fingerprint(self) -> str:
        """Changes when any of it does."""
        return fingerprint([repr(layout) for layout in self.layouts], self.vectors.numpy(), *self.caption_rows)


def augment(images: Tensor, size: int, generator: Generator, mirrored: Tensor | bool = True) -> Tensor:
    """Small affine changes, mirror, pale background, brightness, blur and noise; (B, 3, S, S) to (B, 3, size, size).

    No change of hue: captions name colours. `mirrored` (B,) says which pictures may be mirrored.
    """
    b = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(b, *shape, generator=generator)

    angle, scale, flip = uniform(-0.2, 0.2), uniform(0.85, 1.25), torch.sign(uniform(-1, 1))
    flip = torch.where(torch.as_tensor(mirrored), flip, 1.0)
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

    def forward(self, images: Tensor, vectors: Tensor, sigma: Tensor | None = None) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Picture vectors, text vectors, style logits, and the scale of the cosines in [1, 100]. Pictures of another
        size than `size` are not resized, so that training can begin with small ones."""
        features = self.pool(self.stage_maps(images, sigma)[-1])
        picture = F.normalize(self.project(features).float(), dim=-1)
        scale = self.logit_scale.clamp(0, math.log(100)).exp()
        return picture, self.encode_text(vectors), self.style_head(features), scale


class CompactClipRecipe(Recipe):
    """The compact CLIP's recipe.

    Args:
        data: training pictures.
        held: withheld pictures for `evaluate`.
        config: arguments of `CompactClip`.
        batch_size: pictures of one forward pass.
        scenes: composed pictures, which take the place of `scene_share` of the batch.
        noise_share: share of pictures that noise is added to where the tower is noise-aware; its level's angle
            atan(sigma) is uniform.
        late_noise: (items, share) in order: that share instead, once so many items are seen.
        imagenet: weights of an EfficientNet-Lite0 that a `lite0` tower starts from.
        early: (items, size): until so many items are seen the pictures are smaller, which is faster. The mean-pooling
            towers see any size (Touvron et al. 2019, arXiv 1906.06423).
        seed: of the order of the pictures.

    Raises:
        BadInput: ImageNet weights for another tower.
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
        scenes: Scenes | None = None,
        scene_share: float = 0.1,
        noise_share: float = 0.5,
        late_noise: Sequence[tuple[int, float]] = (),
        imagenet: Mapping[str, Tensor] | None = None,
        early: tuple[int, int] | None = None,
        seed: int = 0,
    ):
        if imagenet is not None and config.get("tower") != "lite0":
            raise BadInput("Only a tower lite0 can start from EfficientNet-Lite0.")
        self.data, self.held, self.config, self.scenes = data, held, config, scenes
        self.batch_size, self.scene_count = batch_size, round(batch_size * scene_share) if scenes else 0
        self.noise_share = noise_share if config.get("noise_aware") else 0.0
        self.late_noise = [list(late) for late in late_noise] if self.noise_share else []
        self.imagenet, self.early, self.seed = imagenet, early, seed

    def build(self) -> nn.Module:
        model = ScaledCompactClip(**self.config)
        if self.imagenet is not None:
            model.load_state_dict(from_imagenet(self.imagenet), strict=False)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def facts(self) -> dict[str, Any]:
        start = "" if self.imagenet is None else fingerprint(*(value.numpy() for value in self.imagenet.values()))
        return super().facts() | {
            "config": self.config,
            "data": self.data.fingerprint,
            "scenes": self.scenes.fingerprint if self.scenes else "",
            "scene count": self.scene_count,
            "noise share": self.noise_share,
            "late noise": self.late_noise,
            "start": start,
            "early": self.early,
        }

    def batch(self, start: int, generator: Generator) -> dict[str, Tensor]:
        data, size = self.data, self.config.get("size", 32)
        if self.early and start < self.early[0]:
            size = self.early[1]
        rows = torch.from_numpy(rows_at(len(data.images), start, self.batch_size, self.seed))
        chosen = drawn([data.caption_rows[row] for row in rows.tolist()], generator)
        vectors, right = data.vectors[chosen].float(), data.right(rows, rows, data.says[chosen])
        images = data.images[rows.numpy()]
        known = torch.ones(len(rows), dtype=torch.bool)  # pictures of one thing
        if self.scenes and self.scene_count:
            composed = torch.randint(len(self.scenes.layouts), (self.scene_count,), generator=generator).tolist()
            images[: self.scene_count] = np.stack([paste(data.images, self.scenes.layouts[i]) for i in composed])
            told = drawn([self.scenes.caption_rows[i] for i in composed], generator)
            vectors[: self.scene_count] = self.scenes.vectors[told].float()
            same = torch.tensor(composed)
            right[: self.scene_count], right[:, : self.scene_count] = False, False
            right[: self.scene_count, : self.scene_count] = same[:, None] == same[None]
            known[: self.scene_count] = False
        x = augment(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, size, generator, known)
        style = torch.where(known, data.style[rows], -1)
        batch = {"images": x, "vectors": vectors, "right": right, "style": style}
        share = [self.noise_share, *(late for items, late in self.late_noise if start >= items)][-1]
        return with_noise(batch, share, generator) if share else batch

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        picture, text, style, scale = model(images, batch["vectors"], batch.get("sigma"))
        contrast = multi_positive(scale * picture @ text.T, batch["right"])
        return {"contrast": contrast, "style": 0.3 * F.cross_entropy(style.float(), batch["style"], ignore_index=-1)}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Text-to-image recall at 1, 5, 10 and median rank among all withheld pictures, style accuracy, and, of a
        noise-aware tower, R@5 where signal and noise are equal."""
        if not len(self.held.images):
            return {}
        figures = retrieval(model, self.held)
        if self.config.get("noise_aware"):
            noisy = retrieval(model, self.held, sigma=1.0)
            figures |= {f"{name[:-1]},sigma=1]": value for name, value in noisy.items() if name.startswith("R@5")}
        return figures


def drawn(caption_rows: Sequence[np.ndarray], generator: Generator) -> Tensor:
    """One caption of each picture, at random."""
    choice = torch.rand(len(caption_rows), generator=generator).tolist()
    return torch.tensor([int(rows[int(u * len(rows))]) for u, rows in zip(choice, caption_rows, strict=True)])


def with_noise(batch: dict[str, Tensor], share: float, generator: Generator) -> dict[str, Tensor]:
    """The batch with noise in a share of its pictures and `sigma` (B,), as `CompactClip.encode_image` wants them."""
    images = batch["images"]
    angle = torch.rand(len(images), generator=generator) * (math.pi / 2) * 0.98
    sigma = angle.tan() * (torch.rand(len(images), generator=generator) < share)
    return batch | {"images": noised(images, sigma, generator), "sigma": sigma}


def noised(images: Tensor, sigma: Tensor, generator: Generator) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] with noise of sigma (B,), scaled to unit variance as a tower reads them."""
    level = sigma[:, None, None, None]
    x = images * 2 - 1 + level * torch.randn(images.shape, generator=generator)
    return (x / (1 + level.square()).sqrt() + 1) / 2


@torch.no_grad()
def retrieval(model: nn.Module, data: CaptionedPictures, sigma: float = 0.0) -> dict[str, float]:
    """One caption a picture (its first that names concept and style); any picture of that concept and style is
    right. With `sigma`, noise of that strength is in every picture and the tower is told."""
    device = next(model.parameters()).device
    parts, styles = [], []
    generator = torch.Generator().manual_seed(0)
    for part in np.array_split(data.images, math.ceil(len(data.images) / 256)):
        images = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255
        images = F.interpolate(images, (model.size, model.size), mode="bilinear", antialias=True)  # type: ignore[arg-type]
        told = torch.full((len(images),), sigma)
        features = model.features(noised(images, told, generator).to(device), told.to(device))  # type: ignore[operator]
        parts.append(F.normalize(model.project(features).float(), dim=-1).cpu())  # type: ignore[operator]
        styles.append(model.style_head(features).argmax(1).cpu())  # type: ignore[operator]
    both = CONCEPT + STYLE
    told_rows = [next((r for r in rows if data.says[r] & both == both), rows[0]) for rows in data.caption_rows]
    text = model.encode_text(data.vectors[torch.tensor(told_rows)].float().to(device)).cpu()  # type: ignore[operator]
    scores = text @ torch.cat(parts).T
    everything = torch.arange(len(scores))
    right = data.right(everything, everything, torch.full_like(everything, both)).T
    best = scores.masked_fill(~right, -2).max(1, keepdim=True).values
    rank = 1 + ((scores > best) & ~right).sum(1)
    figures = {f"R@{k}[text-to-image,n={len(rank)}]": (rank <= k).float().mean().item() for k in (1, 5, 10)}
    figures["median rank"] = rank.float().median().item()
    figures["style accuracy"] = (torch.cat(styles) == data.style).float().mean().item()
    return figures
