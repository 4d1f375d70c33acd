"""Pictures that a painter remembers: their codes, found by what a sentence means.

A network of a few million numbers cannot keep thousands of drawings; a memory of 8-bit codes keeps all of them in a
third of its size, and the network learns to paint from what it is reminded of. Retrieval-augmented diffusion: Blattmann
et al. 2022 (arXiv 2204.11824), Sheynin et al. 2022 (arXiv 2204.02849).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOOSE = 0.006  # likeness within which names count as the same
SAME_STYLE = 0.06  # likeness that the wanted style is worth


@dataclass(frozen=True)
class Recalled:
    """Pictures that came to mind, the likest first.

    Attributes:
        rows: of the memory, (B, S).
        codes: (B, S, K).
        style: style index of each, (B, S).
        likeness: cosine of what was asked for and of the picture's name, (B, S).
    """

    rows: Tensor
    codes: Tensor
    style: Tensor
    likeness: Tensor


class PictureMemory(nn.Module):
    """Codes of pictures with their styles and names.

    Args:
        pictures: how many.
        length: K, numbers in a code.
        names: of what the pictures show; several pictures may share one.
        text_dim: length of the sentence vectors.
        slots: S, pictures that come to mind at a time.
    """

    codes: Tensor
    step: Tensor
    style: Tensor
    name: Tensor
    keys: Tensor

    def __init__(self, *, pictures: int, length: int, names: Sequence[str], text_dim: int = 384, slots: int = 3):
        super().__init__()
        self.config: dict[str, Any] = {
            "pictures": pictures,
            "length": length,
            "names": list(names),
            "text_dim": text_dim,
            "slots": slots,
        }
        self.names, self.slots = list(names), slots
        self.register_buffer("codes", torch.zeros(pictures, length, dtype=torch.int8))
        self.register_buffer("step", torch.ones(length))  # what one integer step of each number is worth
        self.register_buffer("style", torch.zeros(pictures, dtype=torch.uint8))
        self.register_buffer("name", torch.zeros(pictures, dtype=torch.int16))  # row of `keys`
        self.register_buffer("keys", torch.zeros(len(names), text_dim, dtype=torch.int8))  # directions of the names

    def likeness(self, text: Tensor) -> Tensor:
        """Cosine (B, pictures) of sentence vectors (B, D) and the pictures' names."""
        keys = F.normalize(self.keys.float(), dim=-1)
        return (F.normalize(text.float(), dim=-1) @ keys.T)[:, self.name.long()]

    def suits(self, text: Tensor, styles: int) -> Tensor:
        """How like what is asked for the likest picture in each style is, (B, styles)."""
        likeness = self.likeness(text)
        nothing = torch.full((len(likeness), styles), -1.0, device=likeness.device)
        return nothing.scatter_reduce(1, self.style.long().expand_as(likeness), likeness, "amax")

    def recall(
        self,
        text: Tensor,
        style: Tensor,
        *,
        luck: Tensor | None = None,
        without: Tensor | None = None,
        loose: float = LOOSE,
        same_style: float = SAME_STYLE,
    ) -> Recalled:
        """What comes to mind.

        Args:
            text: sentence vectors (B, D).
            style: wanted style indices (B,); one that no picture has stands for any.
            luck: (B, pictures) in [0, 1], for which the likeness is taken wrong by up to `loose`, so that now one, now
                another of the likest comes to mind.
            without: row of a picture (B,) that may not come to mind, or -1.
            loose: see `luck`.
            same_style: likeness that the wanted style is worth.
        """
        likeness = self.likeness(text)
        score = likeness + same_style * (self.style == style[:, None])
        if luck is not None:
            score = score + loose * luck
        if without is not None:
            hidden = without >= 0
            score[hidden, without[hidden]] = -2.0
        rows = score.topk(self.slots, dim=1).indices
        return Recalled(rows, self.read(rows), self.style[rows].long(), likeness.gather(1, rows))

    def read(self, rows: Tensor) -> Tensor:
        """The codes (..., K) of some rows."""
        return self.codes[rows] * self.step.float()


@torch.no_grad()
def memorise(codes: Tensor, style: Tensor, name: Tensor, names: Sequence[str], keys: Tensor) -> PictureMemory:
    """A memory of pictures.

    Args:
        codes: (M, K).
        style: style indices (M,), below 256.
        name: (M,) rows of `names`.
        names: N different ones.
        keys: sentence vectors of the names, (N, D).
    """
    memory = PictureMemory(pictures=len(codes), length=codes.shape[1], names=names, text_dim=keys.shape[1])
    step = codes.abs().amax(0).clamp_min(1e-12) / 127
    memory.codes.copy_((codes / step).round())
    memory.step.copy_(step)
    memory.style.copy_(style)
    memory.name.copy_(name)
    keys = F.normalize(keys.float(), dim=-1)
    memory.keys.copy_((keys / keys.abs().amax(1, keepdim=True) * 127).round())
    return memory


class Reminder(nn.Module):
    """How remembered pictures enter a painter: into its input, its condition and, through gates, its output.

    Args:
        length: K, numbers in a code.
        width, condition: of the painter.
        styles: how many styles it knows.
        slots: S, pictures at a time.
        rank: of the gates.
    """

    def __init__(self, *, length: int, width: int, condition: int, styles: int, slots: int = 3, rank: int = 64):
        super().__init__()
        self.length, self.slots, self.styles = length, slots, styles
        self.enter = nn.Linear(slots * length, width, bias=False)
        self.manner = nn.Embedding(slots * (styles + 1), condition)
        nn.init.normal_(self.manner.weight, std=0.3)
        self.likeness = nn.Linear(2 * slots, condition)
        self.narrow = nn.Linear(width + condition, rank)
        self.gate = nn.Linear(rank, slots * length)
        nn.init.zeros_(self.gate.weight)
        likest = torch.tensor([0.7] + [0.1] * (slots - 1))  # begins by painting what is likest
        self.gate.bias.data.copy_(likest.repeat_interleave(length))

    def condition(self, recalled: Recalled) -> Tensor:
        """What the styles and likenesses say, (B, condition)."""
        first = torch.arange(self.slots, device=recalled.style.device) * (self.styles + 1)
        near = torch.cat([recalled.likeness, recalled.likeness**8], 1)  # the power tells 0.9 from 1
        return self.manner(recalled.style + first).sum(1) + self.likeness(near)

    def into(self, codes: Tensor) -> Tensor:
        """Codes (B, S, K) to what is added to the painter's first layer, (B, width)."""
        return self.enter(codes.flatten(1))

    def out(self, hidden: Tensor, condition: Tensor, codes: Tensor) -> Tensor:
        """What of the remembered codes is taken over as it is, (B, K)."""
        narrow = F.gelu(self.narrow(torch.cat([hidden, condition.to(hidden.dtype)], 1)))
        return (self.gate(narrow).unflatten(1, (self.slots, self.length)) * codes).sum(1)
