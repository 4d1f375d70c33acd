"""Does a picture show its prompt? An independent CLIP picks the prompt of each picture from all of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


def prompt_recall(pictures: Tensor, prompts: Tensor, names: Sequence[Hashable] | None = None) -> float:
    """R@1 picture to prompt: the share of pictures whose own prompt scores highest of all; ties count half.

    Args:
        pictures: unit vectors (N, D) of the pictures.
        prompts: unit vectors (N, D) of their prompts, row for row.
        names: what each prompt asks for; prompts of one name are all right answers.

    Returns:
        A share in [0, 1]; chance is 1/N.
    """
    scores = pictures @ prompts.T
    ids = list(names) if names is not None else list(range(len(prompts)))
    right = torch.tensor([[a == b for b in ids] for a in ids])
    best = scores.masked_fill(~right, -2).amax(1)
    other = scores.masked_fill(right, -2).amax(1)
    return ((best > other).float() + 0.5 * (best == other).float()).mean().item()
