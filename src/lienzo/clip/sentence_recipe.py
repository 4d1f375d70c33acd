"""Distilling the sentence encoder from its teacher's vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from lienzo.clip.sentence import SentenceEncoder


class SentenceRecipe:
    """Imitate `targets` on `texts`: cosine to the teacher, and the teacher's similarities within a batch.

    Args:
        texts: training sentences in any language.
        targets: the teacher's unit vector of each (of its English original), (N, 384).
        held: indices of withheld sentences, for `evaluate`.
    """

    name = "sentence"

    def __init__(self, texts: Sequence[str], targets: Tensor, held: Sequence[int], batch_size: int = 256):
        self.texts, self.targets, self.batch_size = list(texts), targets, batch_size
        held_set = set(held)
        self.held = list(held)
        self.train = [i for i in range(len(self.texts)) if i not in held_set]

    def build(self) -> nn.Module:
        return SentenceEncoder()

    def batch(self, images_seen: int, generator: Generator) -> dict[str, Tensor]:
        picks = torch.randint(len(self.train), (self.batch_size,), generator=generator)
        return {"rows": torch.tensor([self.train[i] for i in picks.tolist()])}

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        rows = batch["rows"].tolist()
        target = self.targets[rows].to(batch["rows"].device)
        vector = model([self.texts[i] for i in rows])
        relation = ((vector @ vector.T - target @ target.T) ** 2).mean()
        return {"cosine": 1 - (vector * target).sum(1).mean(), "relation": 5 * relation}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean cosine to the teacher, and how often the teacher's vector is the nearest of 1000, withheld."""
        rows = self.held[:1000]
        vector = model([self.texts[i] for i in rows])
        target = self.targets[rows].to(vector.device)
        similar = vector @ target.T
        own = similar.diagonal()
        better = (similar > own[:, None] + 1e-4).sum(1)
        return {"cosine[withheld]": own.mean().item(), "nearest[withheld,1000]": (better == 0).float().mean().item()}

    def samples(self, model: nn.Module) -> None:
        return None
