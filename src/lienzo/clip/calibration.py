"""Probabilities that mean what they say: one temperature, fitted on labelled pictures.

Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599. CLIP's own temperature was
trained to tell thousands of captions apart and is usually far too sure about a handful of labels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lienzo.clip.zero_shot import ensemble_probabilities
from lienzo.core.errors import BadInput

SEED = 2020
RANGE = 1000.0
"""A fitted temperature lies within this factor of where it began."""
_PRIOR = 1e-2  # on the biases, in pictures: classes that never occur would else drift off without end


class Calibration(NamedTuple):
    """What turns scores into probabilities; `bias` (classes,) has mean 0."""

    temperature: float
    bias: Tensor | None = None

    def __call__(self, scores: Tensor) -> Tensor:
        """Scores (M, N, classes) to probabilities (N, classes)."""
        bias = None if self.bias is None else self.bias.to(scores)
        return ensemble_probabilities(scores, self.temperature, bias)


def log_loss(probabilities: Tensor, target: Tensor) -> float:
    """Mean negative log-likelihood in nats of classes (N,) under probabilities (N, classes)."""
    _check(probabilities, target)
    own = probabilities.double().gather(1, target[:, None])
    return float(-own.clamp(min=1e-12).log().mean())


def expected_calibration_error(probabilities: Tensor, target: Tensor, bins: int = 15) -> float:
    """How far the winners' probabilities lie from how often they are right, in [0, 1].

    Args:
        probabilities: (N, classes).
        target: int64 (N,).
        bins: equal bins of the winner's probability; each counts by its pictures.
    """
    _check(probabilities, target)
    sure, answer = probabilities.double().max(dim=1)
    right = (answer == target).double()
    place = (sure * bins).long().clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - sure)
    return float(gap.abs().sum() / len(target))


def fit_calibration(scores: Tensor, target: Tensor, *, start: float = 0.01, with_bias: bool = False) -> Calibration:
    """The temperature, and if wanted one bias a class, with the least negative log-likelihood.

    Args:
        scores: (M, N, classes), cosines of N pictures by each classifier of an ensemble.
        target: int64 (N,).
        start: the temperature to begin with.
        with_bias: whether to fit biases too.

    Raises:
        BadInput: shapes do not fit, or there is no picture.
    """
    _check(scores[0], target)
    scores = scores.double()
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(scores.shape[-1], dtype=torch.float64, requires_grad=with_bias)
    wanted = [shift, bias] if with_bias else [shift]
    limit = math.log(RANGE)
    optimiser = torch.optim.LBFGS(wanted, max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        temperature = start * shift.clamp(-limit, limit).exp()
        probabilities = ensemble_probabilities(scores, temperature, bias if with_bias else None)
        own = probabilities.gather(1, target[:, None]).clamp(min=1e-300)
        value = -own.log().mean() + _PRIOR * (bias**2).sum() / len(target)
        value.backward()
        return value.detach()

    optimiser.step(loss)
    temperature = start * math.exp(min(max(float(shift.detach()), -limit), limit))
    centred = (bias - bias.mean()).detach().float() if with_bias else None
    return Calibration(temperature, centred)


def held_out_probabilities(
    scores: Tensor, target: Tensor, *, start: float = 0.01, with_bias: bool = False, folds: int = 5
) -> Tensor:
    """Each picture's probabilities by a calibration that was fitted without it, (N, classes).

    An error measured on them is not flattered by the fit. Each fold has its share of every class; which pictures it
    has is drawn with a fixed seed.
    """
    _check(scores[0], target)
    count = len(target)
    if count < 2:
        raise BadInput("A calibration is checked on at least 2 labelled pictures.")
    folds = min(folds, count)
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(SEED))
    order = drawn[target[drawn].argsort(stable=True)]  # by class, in random order within each
    place = torch.empty(count, dtype=torch.long)
    place[order] = torch.arange(count) % folds
    found = torch.empty(scores.shape[1:], dtype=scores.dtype)
    for fold in range(folds):
        rest, own = place != fold, place == fold
        fitted = fit_calibration(scores[:, rest], target[rest], start=start, with_bias=with_bias)
        found[own] = fitted(scores[:, own])
    return found


def _check(rows: Tensor, target: Tensor) -> None:
    if rows.ndim != 2 or len(target) == 0 or target.shape != rows.shape[:1]:
        raise BadInput(
            f"Scores are (N, classes) and targets (N,); these are {tuple(rows.shape)}, {tuple(target.shape)}."
        )
    if int(target.min()) < 0 or int(target.max()) >= rows.shape[1]:
        raise BadInput(f"Targets are columns of the scores, 0 to {rows.shape[1] - 1}.")
