"""The contrastive losses of CLIP: one right text a picture, or several."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput


def contrastive_loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor, i2t_weight: float = 0.5) -> Tensor:
    """InfoNCE in both directions (Radford et al., arXiv:2103.00020, figure 3): pair i of the batch belongs together.

    L = exp(logit_scale) I T^t; loss = i2t_weight CE(L, i) + (1 - i2t_weight) CE(L^t, i).

    Args:
        image_embeds: (N, D), of any length; normalised here.
        text_embeds: (N, D), likewise.
        logit_scale: the logarithm of the inverse temperature, as the parameter of that name.
        i2t_weight: the weight of image to text, in [0, 1]; 0.5 is CLIP.

    Returns:
        A scalar.

    Raises:
        BadInput: the batches differ in shape, or the weight is outside [0, 1].
    """
    if image_embeds.shape != text_embeds.shape:
        raise BadInput(
            f"Each image needs its text: the embeddings are {tuple(image_embeds.shape)} and {tuple(text_embeds.shape)}."
        )
    if not 0 <= i2t_weight <= 1:
        raise BadInput(f"The image-to-text weight was {i2t_weight}; it should be between 0 and 1.")
    images, texts = F.normalize(image_embeds, dim=-1), F.normalize(text_embeds, dim=-1)
    logits = logit_scale.exp() * images @ texts.T  # (N, N)
    target = torch.arange(len(logits), device=logits.device)
    return i2t_weight * F.cross_entropy(logits, target) + (1 - i2t_weight) * F.cross_entropy(logits.T, target)


def soft_cross_entropy(logits: Tensor, right: Tensor) -> Tensor:
    """Cross-entropy of each row of (N, M) logits, its right columns sharing the target equally; mean over the rows.

    Args:
        logits: (N, M).
        right: (N, M), true or 1 where a column is a right answer; at least one a row.
    """
    right = right.to(logits.dtype)
    return -(F.log_softmax(logits, 1) * right / right.sum(1, keepdim=True)).sum(1).mean()


def multi_positive(logits: Tensor, right: Tensor, i2t_weight: float = 0.5) -> Tensor:
    """The contrastive loss where a picture may have several right texts and a text several right pictures.

    Where every row has one, on the diagonal, it is `contrastive_loss`.

    Args:
        logits: (N, N), rows are pictures, columns texts.
        right: (N, N), which belong together.
        i2t_weight: the weight of image to text, in [0, 1].
    """
    return i2t_weight * soft_cross_entropy(logits, right) + (1 - i2t_weight) * soft_cross_entropy(logits.T, right.T)
