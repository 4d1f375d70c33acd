"""The losses that bring pictures and texts together: CLIP's, SigLIP's, CyCLIP's symmetry, and imitation of a teacher.

Embeddings are (N, D) of any length and normalised here, unless a function says otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lienzo.core.errors import BadInput

RELATION_SCALE = 10.0  # of cosines between sentences, whose inverse temperature it is


def contrastive_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    i2t_weight: float = 0.5,
    logit_bias: Tensor | float = 0.0,
) -> Tensor:
    """InfoNCE in both directions (Radford et al., arXiv:2103.00020, figure 3): pair i of the batch belongs together.

    L = exp(logit_scale) I T^t + logit_bias; loss = i2t_weight CE(L, i) + (1 - i2t_weight) CE(L^t, i).

    Args:
        image_embeds: (N, D), of any length; normalised here.
        text_embeds: (N, D), likewise.
        logit_scale: the logarithm of the inverse temperature, as the parameter of that name.
        i2t_weight: the weight of image to text, in [0, 1]; 0.5 is CLIP.
        logit_bias: added to all logits, which does not change this loss.

    Returns:
        A scalar.

    Raises:
        BadInput: the batches differ in shape, or the weight is outside [0, 1].
    """
    images, texts = _pairs(image_embeds, text_embeds)
    if not 0 <= i2t_weight <= 1:
        raise BadInput(f"The image-to-text weight was {i2t_weight}; it should be between 0 and 1.")
    logits = logit_scale.exp() * images @ texts.T + logit_bias  # (N, N)
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


def sigmoid_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor | float,
    right: Tensor | None = None,
    chunk: int = 0,
) -> Tensor:
    """SigLIP (Zhai et al., arXiv:2303.15343): each picture with each text is a yes-or-no question of its own.

    L = exp(logit_scale) I T^t + logit_bias; loss = sum over all pairs of -log sigmoid(+-L), divided by N pictures.
    The paper begins with logit_scale = ln 10 and logit_bias = -10.

    Args:
        image_embeds: (N, D), of any length; normalised here.
        text_embeds: (M, D), likewise.
        logit_scale: the logarithm of the scale.
        logit_bias: the bias itself.
        right: (N, M), true where they belong together; None where N = M and the diagonal does.
        chunk: texts whose logits are in memory at once; 0 means all. The result is the same.

    Returns:
        A scalar.

    Raises:
        BadInput: the shapes do not fit.
    """
    if right is None:
        _pairs(image_embeds, text_embeds)
        right = torch.eye(len(image_embeds), dtype=torch.bool, device=image_embeds.device)
    elif right.shape != (len(image_embeds), len(text_embeds)):
        raise BadInput(
            f"Which belong together is said for {tuple(right.shape)} pairs; there are {len(image_embeds)} pictures "
            f"and {len(text_embeds)} texts."
        )
    images, texts = F.normalize(image_embeds, dim=-1), F.normalize(text_embeds, dim=-1)
    scale = logit_scale.exp()
    if not 0 < chunk < len(texts):
        return _sigmoid_sum(images, texts, scale, logit_bias, right) / len(images)
    total = images.new_zeros(())
    for some, answers in zip(texts.split(chunk), right.split(chunk, dim=1), strict=True):
        total = total + checkpoint(_sigmoid_sum, images, some, scale, logit_bias, answers, use_reentrant=False)
    return total / len(images)


def cyclic_losses(
    images: Tensor, texts: Tensor, all_images: Tensor | None = None, all_texts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """CyCLIP's two symmetries (Goel et al., arXiv:2205.14459), on cosines without temperature.

    In-modal: two pictures are as alike as their texts, mean((I I^t - T T^t)^2) N. Cross-modal: picture i is as near
    to text j as picture j to text i, mean((I T^t - T I^t)^2) N. The paper weighs each by 0.25.

    Args:
        images, texts: unit vectors (n, D) of this process.
        all_images, all_texts: unit vectors (N, D) of all processes; the same as the former when None.

    Returns:
        The in-modal and the cross-modal term, scalars.
    """
    all_images = images if all_images is None else all_images
    all_texts = texts if all_texts is None else all_texts
    in_modal = (images @ all_images.T - texts @ all_texts.T).square().mean() * len(all_images)
    cross_modal = (images @ all_texts.T - texts @ all_images.T).square().mean() * len(all_images)
    return in_modal, cross_modal


def distillation_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy of a student's answers to a teacher's, in both directions, as OpenCLIP's distillation.

    Args:
        logits: the student's scaled cosines (N, M), rows are pictures, columns texts.
        teacher_logits: the teacher's, scaled by its own temperature, (N, M).
    """

    def one_way(mine: Tensor, wanted: Tensor) -> Tensor:
        return -(wanted.softmax(1) * mine.log_softmax(1)).sum(1).mean()

    return (one_way(logits, teacher_logits) + one_way(logits.T, teacher_logits.T)) / 2


def relational_loss(cosines: Tensor, teacher_cosines: Tensor, same: Tensor) -> Tensor:
    """How far a student's sense of which sentences are near is from a teacher's; TinyCLIP's affinities for one tower.

    KL divergence, in nats, from the teacher's softmax over the other sentences to the student's, mean over the rows
    (after Wu et al., arXiv:2309.12314).

    Args:
        cosines: the student's, (n, N).
        teacher_cosines: the teacher's, (n, N).
        same: (n, N), true where a sentence meets itself, which is left out.
    """
    mine, wanted = (
        (RELATION_SCALE * each).masked_fill(same, -1e4).log_softmax(1) for each in (cosines, teacher_cosines)
    )
    return F.kl_div(mine, wanted, reduction="batchmean", log_target=True)


def _pairs(image_embeds: Tensor, text_embeds: Tensor) -> tuple[Tensor, Tensor]:
    """Both as unit vectors; `BadInput` if they are not as many or not as wide."""
    if image_embeds.shape != text_embeds.shape:
        raise BadInput(
            f"Each image needs its text: the embeddings are {tuple(image_embeds.shape)} and {tuple(text_embeds.shape)}."
        )
    return F.normalize(image_embeds, dim=-1), F.normalize(text_embeds, dim=-1)


def _sigmoid_sum(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | float, right: Tensor) -> Tensor:
    logits = scale * images @ texts.T + bias
    return -F.logsigmoid(torch.where(right, logits, -logits)).sum()
