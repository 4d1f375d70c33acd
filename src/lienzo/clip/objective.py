"""What a training of a CLIP minimises: the contrast of pictures and texts, and the terms beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lienzo.clip.losses import cyclic_losses, relational_loss, sigmoid_loss, soft_cross_entropy
from lienzo.clip.negatives import Sides, sides
from lienzo.clip.paired import Embedded
from lienzo.core.errors import BadInput


@dataclass(frozen=True)
class Objective:
    """The terms of the loss and their weights. Each process has its share; the mean over processes is the whole.

    Args:
        loss: the softmax of CLIP or the sigmoids of SigLIP.
        i2t_weight: of CLIP: the weight of picture to text, in [0, 1].
        cyclip_in_modal: weight of CyCLIP's likeness of pictures to that of texts; 0.25 in the paper.
        cyclip_cross_modal: weight of CyCLIP's symmetry; 0.25 in the paper.
        all_negatives: with several processes, contrast with the pairs of all of them.
        local_loss: then each process scores its own rows only, which saves memory; else all rows.
        gather_with_grad: then gradients flow between processes; without, they are OpenCLIP's cheaper ones, see
            `negatives.sides`. SigLIP needs it, for a text has no other gradient.
        teacher_weight: where there is a teacher of texts, the weight of imitating it.

    Raises:
        BadInput: a weight out of bounds, or options that contradict each other.
    """

    loss: Literal["clip", "siglip"] = "clip"
    i2t_weight: float = 0.5
    cyclip_in_modal: float = 0.0
    cyclip_cross_modal: float = 0.0
    all_negatives: bool = True
    local_loss: bool = True
    gather_with_grad: bool = True
    teacher_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.loss not in ("clip", "siglip"):
            raise BadInput(f"The loss was '{self.loss}'; it should be clip or siglip.")
        if not 0 <= self.i2t_weight <= 1:
            raise BadInput(f"The image-to-text weight was {self.i2t_weight}; it should be between 0 and 1.")
        if not (self.cyclip_in_modal >= 0 and self.cyclip_cross_modal >= 0 and self.teacher_weight >= 0):
            raise BadInput("The weights of CyCLIP's terms and of the teacher should not be below 0.")
        if self.loss == "siglip" and self.i2t_weight != 0.5:
            raise BadInput("SigLIP's loss has no directions; leave the image-to-text weight out.")
        if self.loss == "siglip" and not self.gather_with_grad:
            raise BadInput("SigLIP needs gradients between processes; leave gather-with-grad on.")
        if not self.all_negatives and not (self.local_loss and self.gather_with_grad):
            raise BadInput(
                "Without the pairs of all processes (all-negatives) nothing is gathered, so local-loss and "
                "gather-with-grad have no effect; leave them out."
            )

    def __call__(
        self, found: Embedded, numbers: Tensor, teacher: Tensor | None = None, chunk: int | None = None
    ) -> dict[str, Tensor]:
        """The weighted terms by name, scalars.

        Args:
            found: what the network gave.
            numbers: (B, K); a picture and a text belong together where any of their K numbers agree. The last is
                the caption's.
            teacher: unit vectors (B, T) of the captions.
            chunk: of SigLIP: texts whose logits are in memory at once.
        """
        pictures, texts, known = self._sides(found.pictures), self._sides(found.texts), self._sides(numbers)
        right = (known.own[:, None] == known.all[None]).any(2)  # (own, all), symmetric in pictures and texts
        if self.loss == "siglip":
            assert found.logit_bias is not None
            bias = found.logit_bias
            terms = {"sigmoid": sigmoid_loss(pictures.own, texts.all, found.logit_scale, bias, right, chunk or 0)}
        else:
            scale = found.logit_scale.exp()
            i2t = soft_cross_entropy(scale * pictures.own @ texts.all.T, right)
            t2i = soft_cross_entropy(scale * texts.own @ pictures.all.T, right)
            terms = {"image to text": self.i2t_weight * i2t, "text to image": (1 - self.i2t_weight) * t2i}
        if self.cyclip_in_modal or self.cyclip_cross_modal:
            in_modal, cross_modal = cyclic_losses(pictures.own, texts.own, pictures.all, texts.all)
            terms |= {"in-modal": self.cyclip_in_modal * in_modal, "cross-modal": self.cyclip_cross_modal * cross_modal}
        if teacher is not None:
            terms |= self._imitation(found, texts, known, teacher)
        return terms

    def _imitation(self, found: Embedded, texts: Sides, known: Sides, teacher: Tensor) -> dict[str, Tensor]:
        """How far texts are from the teacher's: each by itself, and their likeness to the others."""
        assert found.imitation is not None
        vectors = self._sides(teacher)
        same = known.own[:, None, -1] == known.all[None, :, -1]  # equal captions teach nothing about each other
        relations = relational_loss(texts.own @ texts.all.T, vectors.own @ vectors.all.T, same)
        apart = (1 - torch.linalg.vecdot(found.imitation, teacher)).mean()
        return {"teacher": self.teacher_weight * apart, "teacher's relations": self.teacher_weight * relations}

    def _sides(self, rows: Tensor) -> Sides:
        return sides(rows, self.local_loss, self.gather_with_grad) if self.all_negatives else Sides(rows, rows)
