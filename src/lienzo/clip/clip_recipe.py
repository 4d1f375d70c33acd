"""Training a whole CLIP, both towers, on pictures with captions (Radford et al., arXiv:2103.00020)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lienzo.clip.losses import soft_cross_entropy
from lienzo.clip.model import CLIP
from lienzo.clip.negatives import gather_rows, several_processes
from lienzo.clip.preprocessing import normalise
from lienzo.clip.tokenizer import clean, tokenize
from lienzo.core.errors import BadInput
from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet
from lienzo.imaging.grids import contact_sheet
from lienzo.training.recipe import Recipe

JUDGED = 1000  # withheld pictures that figures are computed on, at most
SHOWN = 6  # withheld captions on a sample sheet
BEST = 5  # pictures beside each of them


class PairedClip(CLIP):
    """A `CLIP` whose forward pass gives the embeddings apart, so that those of other processes can join them."""

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Unit vectors of pictures (B, D) and of texts (B, D), and the scale of their cosines."""
        pictures = F.normalize(self.encode_image(images).float(), dim=-1)
        texts = F.normalize(self.encode_text(tokens).float(), dim=-1)
        return pictures, texts, self.logit_scale.exp()


class ClipRecipe(Recipe):
    """Contrast of each picture of a batch with every caption of it, in both directions.

    Each time a picture comes up one of its captions is drawn. Where a caption or a picture occurs twice in a batch,
    both are right answers and share the target, so equal captions are not pushed apart. The temperature is learned;
    the scale exp(logit_scale) is kept in [1, 100] after each step.

    Args:
        data: training pictures as large as the network reads, with captions; without any, class names are captions.
        held: withheld ones for `evaluate` and `samples`; may be empty.
        config: arguments of `CLIP`.
        batch_size: pairs of one forward pass of one process.
        i2t_weight: the weight of picture to text in the loss, in [0, 1]; 0.5 is CLIP.
        crop: smallest share of a picture's area that a random square crop keeps; 1 leaves pictures whole.
        all_negatives: with several processes, contrast with the pairs of all of them. Passes whose gradients are
            accumulated never see each other's pairs.
        seed: of the order of the pictures.

    Raises:
        BadInput: no captions, pictures of another size, or a value out of bounds.
    """

    name = "clip"
    network = "clip"

    def __init__(
        self,
        data: DataSet,
        held: DataSet,
        config: Mapping[str, Any],
        *,
        batch_size: int = 256,
        i2t_weight: float = 0.5,
        crop: float = 0.9,
        all_negatives: bool = True,
        seed: int = 0,
    ):
        if not 0 <= i2t_weight <= 1:
            raise BadInput(f"The image-to-text weight was {i2t_weight}; it should be between 0 and 1.")
        if not 0 < crop <= 1:
            raise BadInput(f"The smallest crop was {crop}; it should be a share above 0, up to 1.")
        self.data, self.held, self.config = captioned(data), captioned(held), dict(config)
        if not len(self.data):
            raise BadInput("Training a CLIP needs pictures with captions; not one picture has any.")
        size = self.config["image_resolution"]
        if self.data.size != size:
            raise BadInput(f"This CLIP reads {size} x {size} pixels; the training pictures have {self.data.size}.")
        self.batch_size, self.i2t_weight, self.crop = batch_size, i2t_weight, crop
        self.all_negatives, self.seed = all_negatives, seed

    @cached_property
    def caption_ids(self) -> dict[str, int]:
        """A number for each caption, the same for captions that the tokenizer cannot tell apart."""
        ids: dict[str, int] = {}
        cleaned: dict[str, int] = {}
        for caption in (caption for captions in self.data.captions for caption in captions):
            if caption not in ids:
                ids[caption] = cleaned.setdefault(clean(caption), len(cleaned))
        return ids

    def build(self) -> nn.Module:
        return PairedClip(**self.config)

    @cached_property
    def _texts(self) -> str:
        return fingerprint(*self.data.captions)

    def facts(self) -> dict[str, Any]:
        options = {"i2t_weight": self.i2t_weight, "crop": self.crop, "all_negatives": self.all_negatives}
        data = {"config": self.config, "data": self.data.fingerprint, "captions": self._texts, "items": len(self.data)}
        return super().facts() | options | data

    def batch(self, start: int, generator: Generator) -> dict[str, Tensor]:
        """Normalised pictures (B, 3, S, S), tokens (B, L), and numbers of picture and caption, (B,)."""
        rows = rows_at(len(self.data), start, self.batch_size, self.seed)
        draws = torch.rand(len(rows), generator=generator).tolist()
        captions = [self.data.captions[row][int(u * len(self.data.captions[row]))] for row, u in zip(rows, draws)]
        images = as_floats(self.data.images[rows])
        if self.crop < 1:
            images = random_crops(images, self.crop, generator)
        return {
            "images": normalise(images),
            "tokens": self._tokens(captions),
            "picture": torch.from_numpy(rows),
            "caption": torch.tensor([self.caption_ids[caption] for caption in captions]),
        }

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of this process's pairs against those of all, of which the mean over processes is the whole."""
        pictures, texts, scale = model(batch["images"], batch["tokens"])
        numbers = torch.stack([batch["picture"], batch["caption"]], 1)  # (B, 2)
        all_pictures, all_texts, all_numbers = pictures, texts, numbers
        if self.all_negatives and several_processes():
            all_pictures, all_texts, all_numbers = (gather_rows(rows) for rows in (pictures, texts, numbers))
        right = (numbers[:, None] == all_numbers[None]).any(2)  # (B, all), symmetric in pictures and texts
        with torch.autocast(pictures.device.type, enabled=False):  # logits up to 100 need all their digits
            i2t = soft_cross_entropy(scale * pictures @ all_texts.T, right)
            t2i = soft_cross_entropy(scale * texts @ all_pictures.T, right)
        return {"image to text": self.i2t_weight * i2t, "text to image": (1 - self.i2t_weight) * t2i}

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """Keep the scale in [1, 100], as the paper, so that training stays stable."""
        scale = model.logit_scale
        assert isinstance(scale, Tensor)
        scale.clamp_(0, math.log(100))

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Retrieval among withheld pictures, both ways: the share of queries with a right answer among the first
        1, 5 and 10, and the median rank of the first right one. Equal scores count against the network."""
        if not len(self.held):
            return {}
        held = self.held.select(np.arange(min(len(self.held), JUDGED)))
        captions = list(dict.fromkeys(clean(caption) for own in held.captions for caption in own))
        column = {caption: j for j, caption in enumerate(captions)}
        right = torch.zeros(len(held), len(captions), dtype=torch.bool)
        for i, own in enumerate(held.captions):
            right[i, [column[clean(caption)] for caption in own]] = True
        scores = self._embed_pictures(model, held) @ self._embed_texts(model, captions).T
        counts = f"n={len(held)},captions={len(captions)}"
        return retrieval(scores.T, right.T, f"text-to-image,{counts}") | retrieval(
            scores, right, f"image-to-text,{counts}"
        )

    @torch.no_grad()
    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Six withheld captions, each below the five withheld pictures that it finds first."""
        if not len(self.held):
            return None
        held = self.held.select(np.arange(min(len(self.held), JUDGED)))
        captions = list(dict.fromkeys(own[0] for own in held.captions))[:SHOWN]
        scores = self._embed_texts(model, captions) @ self._embed_pictures(model, held).T
        best = scores.topk(min(BEST, len(held)), dim=1).indices.numpy()
        return contact_sheet([np.concatenate(list(held.images[row]), axis=1) for row in best], captions, columns=1)

    def _tokens(self, captions: Sequence[str]) -> Tensor:
        return tokenize(captions, self.config.get("context_length", 77), truncate=True)

    def _embed_pictures(self, model: nn.Module, data: DataSet) -> Tensor:
        """Unit vectors (N, D) on the CPU."""
        device = next(model.parameters()).device
        parts = []
        for rows in np.array_split(np.arange(len(data)), math.ceil(len(data) / 64)):
            images = normalise(as_floats(data.images[rows]).to(device))
            parts.append(F.normalize(model.encode_image(images).float(), dim=-1).cpu())  # type: ignore[operator]
        return torch.cat(parts)

    def _embed_texts(self, model: nn.Module, captions: Sequence[str]) -> Tensor:
        """Unit vectors (N, D) on the CPU."""
        device = next(model.parameters()).device
        parts = [model.encode_text(rows.to(device)).float() for rows in self._tokens(captions).split(256)]  # type: ignore[operator]
        return F.normalize(torch.cat(parts), dim=-1).cpu()


def captioned(data: DataSet) -> DataSet:
    """The pictures that have captions; where no picture has any, each takes the name of its class for one."""
    if not any(data.captions) and data.labels is not None and data.label_names:
        names = [name.replace("_", " ") for name in data.label_names]
        data = DataSet(
            data.images, data.names, tuple((names[label],) for label in data.labels), fingerprint=data.fingerprint
        )
    if all(data.captions) and len(data.captions) == len(data):
        return data
    return data.select([i for i, captions in enumerate(data.captions) if captions])


def as_floats(images: np.ndarray) -> Tensor:
    """uint8 (B, S, S, 3) to float (B, 3, S, S) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def random_crops(images: Tensor, smallest: float, generator: Generator) -> Tensor:
    """A random square of each picture of (B, 3, S, S), enlarged to the full size again.

    Its share of the area is uniform from `smallest` to 1, its place uniform among those inside the picture.
    """
    area = smallest + (1 - smallest) * torch.rand(len(images), generator=generator)
    side = area.sqrt()
    shift = (2 * torch.rand(len(images), 2, generator=generator) - 1) * (1 - side)[:, None]
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)


def retrieval(scores: Tensor, right: Tensor, protocol: str) -> dict[str, float]:
    """Recall at 1, 5 and 10, and the median rank, of queries (rows) among candidates (columns).

    The rank of a query is one more than the wrong candidates that score as high as its best right one or higher, so
    a network that finds everything alike is last.

    Args:
        scores: (queries, candidates).
        right: (queries, candidates), at least one true a row.
        protocol: what the names carry in brackets.
    """
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    rank = 1 + ((scores >= best) & ~right).sum(1)
    figures = {f"R@{k}[{protocol}]": (rank <= k).double().mean().item() for k in (1, 5, 10)}
    return figures | {f"median rank[{protocol}]": rank.double().quantile(0.5).item()}
