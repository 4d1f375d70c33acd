"""A linear probe: logistic regression on a CLIP's picture vectors (arXiv:2103.00020, section 3.2 and A.3)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.weights.reading import read_weights
from lienzo.weights.writing import write_tensors

KEY = "lienzo_probe"
VERSION = 1
OPENAI_C = 0.316
"""Inverse strength of the L2 penalty that OpenAI's README gives."""
MAX_ITERATIONS = 1000
SWEEP = tuple(10.0**power for power in range(-3, 5))


@dataclass(frozen=True)
class Probe:
    """Weights of a probe.

    Attributes:
        weight: float32 (classes, D).
        bias: float32 (classes,).
        labels: the classes.
        clip: name or file of the CLIP whose vectors it reads.
        tag: that CLIP's weights and preprocessing.
        c: inverse strength of the penalty.
    """

    weight: Tensor
    bias: Tensor
    labels: tuple[str, ...]
    clip: str
    tag: str
    c: float

    def logits(self, vectors: np.ndarray) -> Tensor:
        """Vectors (N, D) to logits (N, classes)."""
        return torch.from_numpy(vectors).float() @ self.weight.T + self.bias


def need_sklearn() -> None:
    """Raises BadInput where scikit-learn is not installed."""
    if find_spec("sklearn") is None:
        raise BadInput("Fitting a probe needs scikit-learn: pip install 'lienzo[probe]'.")


def fit_probe(
    vectors: np.ndarray,
    target: np.ndarray,
    labels: Sequence[str],
    *,
    c: float = OPENAI_C,
    clip: str = "",
    tag: str = "",
) -> Probe:
    """Multinomial logistic regression with L2 penalty by L-BFGS; the intercept is not penalised.

    Args:
        vectors: float32 (N, D), unit length.
        target: int64 (N,), classes among `labels`; a class without pictures never wins.
        labels: the classes.
        c: inverse strength of the penalty.
        clip, tag: what made the vectors.

    Raises:
        BadInput: scikit-learn is not installed, or fewer than two classes have pictures.
    """
    need_sklearn()
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(target)) < 2:
        raise BadInput("A probe needs pictures of at least two classes.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = LogisticRegression(C=c, max_iter=MAX_ITERATIONS).fit(vectors.astype(np.float64), target)
    weight, bias = found.coef_, found.intercept_
    if len(found.classes_) == 2:  # one row for two classes: the softmax of (-z/2, z/2) is its logistic function
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    full = torch.zeros(len(labels), vectors.shape[1])
    shift = torch.full((len(labels),), -1e4)
    full[found.classes_] = torch.from_numpy(weight).float()
    shift[found.classes_] = torch.from_numpy(bias).float()
    return Probe(full, shift, tuple(labels), clip, tag, c)


def best_c(vectors: np.ndarray, target: np.ndarray, folds: int = 5, seed: int = 0) -> tuple[float, dict[float, float]]:
    """The C of `SWEEP` with the best mean accuracy in stratified cross-validation, and the accuracy of each.

    Of equally good ones the smallest is taken, which is the strongest penalty.

    Raises:
        BadInput: scikit-learn is not installed, or a class has fewer than two pictures.
    """
    need_sklearn()
    from sklearn.model_selection import StratifiedKFold

    _, counts = np.unique(target, return_counts=True)
    if len(counts) < 2 or counts.min() < 2:
        raise BadInput("The sweep needs at least two classes with at least two pictures each to train on.")
    splits = list(
        StratifiedKFold(min(folds, int(counts.min())), shuffle=True, random_state=seed).split(vectors, target)
    )
    labels = tuple(map(str, range(int(target.max()) + 1)))
    accuracy = {}
    for c in SWEEP:
        right = [
            (
                fit_probe(vectors[train], target[train], labels, c=c).logits(vectors[own]).argmax(1).numpy()
                == target[own]
            )
            for train, own in splits
        ]
        accuracy[c] = float(np.concatenate(right).mean())
    return max(SWEEP, key=lambda c: (accuracy[c], -c)), accuracy


def save_probe(path: Path, probe: Probe) -> None:
    """Write a probe as safetensors. Raises BadInput when the disk refuses."""
    facts = {"version": VERSION, "labels": probe.labels, "clip": probe.clip, "tag": probe.tag, "c": probe.c}
    tensors = {"weight": probe.weight.contiguous(), "bias": probe.bias.contiguous()}
    write_tensors(path, tensors, {KEY: json.dumps(facts)})


def read_probe(path: Path) -> Probe:
    """A probe that `save_probe` wrote.

    Raises:
        BadWeights: the file is missing, broken, or no probe.
    """
    weights = read_weights(path)
    shown = printable(path.name, 100)
    if KEY not in weights.metadata:
        raise BadWeights(f"'{shown}' is no probe that lienzo probe wrote.")
    try:
        facts = json.loads(weights.metadata[KEY])
        labels = tuple(facts["labels"])
        weight, bias = weights.tensors["weight"].float().clone(), weights.tensors["bias"].float().clone()
        clip, tag, c = str(facts["clip"]), str(facts["tag"]), float(facts["c"])
        fits = weight.ndim == 2 and len(weight) == len(labels) == len(bias) and bias.ndim == 1
        if not fits or not labels or not all(isinstance(label, str) for label in labels):
            raise ValueError("shapes")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadWeights(f"The probe '{shown}' is broken.") from error
    if facts.get("version") != VERSION:
        raise BadWeights(f"The probe '{shown}' is of another version of Lienzo.")
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise BadWeights(f"The probe '{shown}' holds numbers that are not finite.")
    return Probe(weight, bias, labels, clip, tag, c)
