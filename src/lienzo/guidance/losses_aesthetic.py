"""A loss that raises what a network trained on people's ratings gives a picture."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.clip.aesthetic import AestheticHead
from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.guidance.losses import Loss
from lienzo.guidance.losses_chosen import ChosenLoss, Surroundings
from lienzo.guidance.perceptor import Perceptor
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve


class AestheticLoss(ChosenLoss):
    """Raises the score of an aesthetic head (1 to 10, the higher the more people like a picture)."""

    strength: ClassVar[float] = 5000.0

    model: str = ""
    """File of the head, for example LAION's sac+logos+ava1-l14-linearMSE.pth with the CLIP ViT-L/14."""

    def make_loss(self, around: Surroundings) -> Loss:
        if not self.model:
            raise BadInput("The loss 'aesthetic' needs a head; write 'aesthetic; model=FILE'.")
        head = load_model(resolve(self.model))
        if not isinstance(head, AestheticHead):
            raise BadInput(f"'{printable(self.model)}' is no aesthetic head.")
        return aesthetic_loss(head, fitting(head, around))


def fitting(head: AestheticHead, around: Surroundings) -> Perceptor:
    """The first CLIP whose embeddings are as wide as the head takes them.

    Raises:
        BadInput: there is none.
    """
    widths = []
    for perceptor in around.perceptors:
        with torch.no_grad():
            widths.append(perceptor.encode_text(["a picture"]).shape[-1])
        if widths[-1] == head.width:
            return perceptor
    here = f"here are CLIPs of {', '.join(map(str, widths))}" if widths else "here is no CLIP"
    raise BadInput(f"The aesthetic head scores embeddings of {head.width} numbers and {here}; add the CLIP it is for.")


def aesthetic_loss(head: AestheticHead, perceptor: Perceptor) -> Loss:
    """One minus a tenth of the score of the whole picture, (B,)."""

    def loss(x: Tensor) -> Tensor:
        embeds = F.normalize(perceptor.encode_image((x + 1) / 2), dim=-1)
        return 1 - head.to(embeds.device)(embeds)[:, 0] / 10

    return loss
