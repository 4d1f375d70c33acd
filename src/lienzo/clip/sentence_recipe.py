"""Distilling the sentence encoder from its teacher's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from lienzo.clip.sentence import SentenceEncoder
from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.training.recipe import Recipe


class SentenceRecipe(Recipe):
    """Imitate `targets` on `texts`: cosine to the teacher, and the teacher's similarities within a batch.

    Args:
        texts: training sentences in any language.
        targets: the teacher's unit vector of each (of its English original), (N, 384).
        held: indices of withheld sentences, for `evaluate`.
        batch_size: sentences of one forward pass.
        seed: of the order of the sentences.
    """

    name = "sentence"
    network = "sentence"

    def __init__(
        self, texts: Sequence[str], targets: Tensor, held: Sequence[int], batch_size: int = 256, *, seed: int = 0
    ):
        self.texts, self.targets, self.batch_size, self.seed = list(texts), targets, batch_size, seed
        held_set = set(held)
        self.held = list(held)
        self.train = [i for i in range(len(self.texts)) if i not in held_set]

    def build(self) -> nn.Module:
        return SentenceEncoder()

    @cached_property
    def _data(self) -> str:
        return fingerprint(self.texts, self.targets.numpy(), [str(i) for i in self.held])

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"data": self._data}

    def batch(self, start: int, generator: Generator) -> dict[str, Tensor]:
        picks = rows_at(len(self.train), start, self.batch_size, self.seed)
        return {"rows": torch.tensor([self.train[i] for i in picks])}

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
