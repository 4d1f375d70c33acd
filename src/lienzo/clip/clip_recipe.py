"""Training a whole CLIP, both towers, on pictures with captions (Radford et al., arXiv:2103.00020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lienzo.clip.objective import Objective
from lienzo.clip.paired import TOWERS, PairedClip, plain
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

Teacher = Callable[[Sequence[str]], Tensor]
"""Reads sentences as unit vectors (N, T)."""


class ClipRecipe(Recipe):
    """Contrast of each picture of a batch with every caption of it.

    Each time a picture comes up one of its captions is drawn. Where a caption or a picture occurs twice in a batch,
    both are right answers, so equal captions are not pushed apart. The temperature is learned; the scale
    exp(logit_scale) is kept in [1, 100] after each step.

    Args:
        data: training pictures as large as the network reads, with captions; without any, class names are captions.
        held: withheld ones for `evaluate` and `samples`; may be empty.
        config: arguments of `CLIP`.
        objective: the loss and the terms beside it.
        batch_size: pairs that one process contrasts in a step. Passes whose gradients are accumulated by the loop
            never see each other's pairs; `chunk` saves memory without that loss.
        chunk: pairs whose activations are in memory at once (see `caching`); None for the whole batch.
        crop: smallest share of a picture's area that a random square crop keeps; 1 leaves pictures whole.
        locked: a tower that does not learn, "image" or "text" (LiT, Zhai et al., arXiv:2111.07991).
        teacher: what the text tower imitates; it reads every caption once, now.
        seed: of the order of the pictures.

    Raises:
        BadInput: no captions, pictures of another size, or values out of bounds or in contradiction.
    """

    name = "clip"
    network = "clip"

    def __init__(
        self,
        data: DataSet,
        held: DataSet,
        config: Mapping[str, Any],
        *,
        objective: Objective | None = None,
        batch_size: int = 256,
        chunk: int | None = None,
        crop: float = 0.9,
        locked: Collection[str] = (),
        teacher: Teacher | None = None,
        seed: int = 0,
    ):
        if not 0 < crop <= 1:
            raise BadInput(f"The smallest crop was {crop}; it should be a share above 0, up to 1.")
        if chunk is not None and (chunk < 1 or batch_size % chunk):
            raise BadInput(f"A batch of {batch_size} pairs cannot be cut into chunks of {chunk}.")
        self.locked = tuple(tower for tower in TOWERS if tower in locked)
        if len(self.locked) != len(set(locked)) or self.locked == TOWERS:
            raise BadInput("Lock the image tower or the text tower; with both locked nothing is left to learn.")
        if teacher is not None and "text" in self.locked:
            raise BadInput("A locked text tower cannot imitate a teacher.")
        self.data, self.held, self.config = captioned(data), captioned(held), dict(config)
        if not len(self.data):
            raise BadInput("Training a CLIP needs pictures with captions; not one picture has any.")
        size = self.config["image_resolution"]
        if self.data.size != size:
            raise BadInput(f"This CLIP reads {size} x {size} pixels; the training pictures have {self.data.size}.")
        self.objective = objective or Objective()
        self.batch_size, self.chunk, self.crop, self.seed = batch_size, chunk, crop, seed
        self.taught = None if teacher is None else read_all(teacher, self._distinct())

    @cached_property
    def caption_ids(self) -> dict[str, int]:
        """A number for each caption, the same for captions that the tokenizer cannot tell apart."""
        ids: dict[str, int] = {}
        cleaned: dict[str, int] = {}
        for caption in (caption for captions in self.data.captions for caption in captions):
            if caption not in ids:
                ids[caption] = cleaned.setdefault(clean(caption), len(cleaned))
        return ids

    def _distinct(self) -> list[str]:
        """A caption for each number of `caption_ids`."""
        found = {number: caption for caption, number in self.caption_ids.items()}
        return [found[number] for number in range(len(found))]

    def build(self) -> nn.Module:
        width = None if self.taught is None else self.taught.shape[1]
        sigmoid = self.objective.loss == "siglip"
        return PairedClip(self.config, sigmoid=sigmoid, locked=self.locked, teacher_dim=width)

    def export(self, model: nn.Module) -> nn.Module:
        """The trained network as a plain `CLIP`, without the bias of SigLIP and what imitated a teacher."""
        return plain(model)

    @cached_property
    def _texts(self) -> str:
        return fingerprint(*self.data.captions)

    def facts(self) -> dict[str, Any]:
        taught = None if self.taught is None else fingerprint(self.taught.numpy())
        options = asdict(self.objective) | {"chunk": self.chunk, "crop": self.crop, "locked": list(self.locked)}
        data = {"config": self.config, "data": self.data.fingerprint, "captions": self._texts, "items": len(self.data)}
        return super().facts() | options | data | {"teacher": taught}

    def batch(self, start: int, generator: Generator) -> dict[str, Tensor]:
        """Normalised pictures (B, 3, S, S), tokens (B, L), numbers of picture and caption, (B,), and the teacher's
        vectors (B, T)."""
        rows = rows_at(len(self.data), start, self.batch_size, self.seed)
        draws = torch.rand(len(rows), generator=generator).tolist()
        captions = [self.data.captions[row][int(u * len(self.data.captions[row]))] for row, u in zip(rows, draws)]
        images = as_floats(self.data.images[rows])
        if self.crop < 1:
            images = random_crops(images, self.crop, generator)
        numbers = torch.tensor([self.caption_ids[caption] for caption in captions])
        batch = {
            "images": normalise(images),
            "tokens": self._tokens(captions),
            "picture": torch.from_numpy(rows),
            "caption": numbers,
        }
        return batch if self.taught is None else batch | {"teacher": self.taught[numbers].float()}

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of this process's pairs against those of all, of which the mean over processes is the whole."""
        found = model(batch["images"], batch["tokens"], self.chunk)
        numbers = torch.stack([batch["picture"], batch["caption"]], 1)  # (B, 2)
        with torch.autocast(batch["images"].device.type, enabled=False):  # logits up to 100 need all their digits
            return self.objective(found, numbers, batch.get("teacher"), self.chunk)

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


@torch.no_grad()
def read_all(teacher: Teacher, captions: Sequence[str]) -> Tensor:
    """A teacher's unit vectors of all captions, (N, T), in half precision on the CPU."""
    parts = [teacher(captions[i : i + 256]).float().cpu() for i in range(0, len(captions), 256)]
    return F.normalize(torch.cat(parts), dim=-1).half()


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
