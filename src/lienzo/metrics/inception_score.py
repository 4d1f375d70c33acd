"""Inception score: exp of the mean KL divergence between a picture's classes and the classes of all.

It needs no real pictures. High means that single pictures are clear and that all classes occur; it says nothing of
variety inside a class. The pictures are shuffled and split, and mean and population deviation over the splits given.

Reference: Salimans et al. 2016, arXiv 1606.03498; shuffle and splits as in torch-fidelity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.bootstrap import PERCENT, counts, interval
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.protocol import Protocol, Score


@dataclass(frozen=True)
class InceptionScore:
    """Inception score. Higher is better, between 1 and the number of classes.

    Attributes:
        splits: How many parts; few pictures in a part make the score lower.
        shuffle: Whether to shuffle before, by numpy's RandomState with `seed`.
        seed: Of the shuffle.
        draws: Bootstrap draws for the interval, of the score without splits; 0 for none.
        percent: What the interval covers.
    """

    needs: ClassVar = "logits"
    splits: int = 10
    shuffle: bool = True
    seed: int = 2020
    draws: int = 100
    percent: float = PERCENT

    def measure(self, real: FeatureSet | None, fake: FeatureSet) -> dict[str, Score]:
        """The scores ``inception_score`` and ``inception_score_std`` of the generated set.

        Raises:
            BadInput: there are no logits, or more splits than pictures.
        """
        if fake.logits is None:
            raise BadInput("The inception score needs class scores; this feature net gives none.")
        n, logits = len(fake), fake.logits.double()
        if not 1 <= self.splits <= n:
            raise BadInput(f"The inception score takes 1 to {n} splits of {n} pictures, not {self.splits}.")
        if self.shuffle:
            logits = logits[torch.from_numpy(np.random.RandomState(self.seed).permutation(n))]
        parts = [logits[i * n // self.splits : (i + 1) * n // self.splits] for i in range(self.splits)]
        values = torch.stack([_score(part) for part in parts])
        spread = interval(float(values.mean()), _redrawn(logits, self.draws), self.percent)
        made = (fake.made, {"splits": self.splits, "shuffle": self.seed if self.shuffle else "no", "n": n})
        return {
            "inception_score": Score(
                "inception_score", float(values.mean()), Protocol.of("inception_score", *made), spread
            ),
            "inception_score_std": Score(
                "inception_score_std", float(values.std(correction=0)), Protocol.of("inception_score_std", *made)
            ),
        }


def _score(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(1)
    log_mean = log_p.logsumexp(0) - np.log(len(log_p))
    return (log_p.exp() * (log_p - log_mean)).sum(1).mean().exp()


def _redrawn(logits: Tensor, draws: int) -> Tensor:
    """The score of each bootstrap draw of all pictures: exp(H(mean) - mean H)."""
    weights = counts(len(logits), draws, 1).to(logits) / len(logits)  # (N, K)
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    mean = weights.T @ p  # (K, C)
    return ((p * log_p).sum(1) @ weights - torch.special.xlogy(mean, mean).sum(1)).exp()
