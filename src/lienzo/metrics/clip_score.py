"""CLIP scores: the cosine between a picture and a sentence, in the scalings in use.

All take embeddings, row for row; they need not have unit length. The figure depends on the CLIP, and on how the
sentence is put: the paper of CLIPScore writes "A photo depicts" before each (`HESSEL_PREFIX`), torchmetrics nothing.

Reference: Hessel et al. 2021, arXiv 2104.08718.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput

HESSEL_PREFIX = "A photo depicts "


def clip_score(images: Tensor, texts: Tensor, *, weight: float = 2.5) -> Tensor:
    """CLIPScore of each pair, (N,): 2.5 max(cosine, 0).

    Args:
        images, texts: embeddings (N, D).
        weight: 2.5 spreads the cosines that CLIP has over about [0, 1].

    Raises:
        BadInput: the two do not match row for row.
    """
    return weight * _cosines(images, texts).clamp(min=0)


def clip_score_100(images: Tensor, texts: Tensor) -> Tensor:
    """The score of torchmetrics, (): the mean of 100 cosine over all pairs, and 0 where that is negative."""
    return (100 * _cosines(images, texts).mean()).clamp(min=0)


def reference_clip_score(images: Tensor, texts: Tensor, references: Tensor, *, weight: float = 2.5) -> Tensor:
    """RefCLIPScore of each pair, (N,): the harmonic mean of `clip_score` and the best cosine with a reference.

    Args:
        images, texts: embeddings (N, D).
        references: embeddings (N, R, D) of R true captions of each picture.
        weight: as in `clip_score`.
    """
    score = clip_score(images, texts, weight=weight)
    if references.ndim != 3 or references.shape[0] != len(texts) or 0 in references.shape:
        raise BadInput(f"References come as (N, R, D) for {len(texts)} pictures; these are {tuple(references.shape)}.")
    best = F.cosine_similarity(texts[:, None], references, dim=-1).amax(1).clamp(min=0)
    total = score + best
    return 2 * score * best / total.where(total > 0, 1.0)


def _cosines(images: Tensor, texts: Tensor) -> Tensor:
    if images.ndim != 2 or images.shape != texts.shape or 0 in images.shape:
        raise BadInput(
            f"A CLIP score takes as many picture as text embeddings, both (N, D); "
            f"these are {tuple(images.shape)} and {tuple(texts.shape)}."
        )
    return F.cosine_similarity(images, texts, dim=-1)
