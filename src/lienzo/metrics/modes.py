"""Modes: which classes of the real pictures the generated ones show, and in which shares.

A classifier is fitted to the features of labelled real pictures; it reads the class of every generated one. Then

* modes_hit: classes that at least one generated picture was read as;
* label_kl: KL(generated shares || real shares) in nats; 0 when both hold the classes in equal shares, log C when all
  generated pictures are of one class out of C equal ones.

The classifier errs, and must err alike on both sides. So the real pictures are split in folds; each fold is read by a
classifier that did not learn from it, which also gives its accuracy on withheld pictures, and the generated pictures
are read by the same classifiers in turn. Then both histograms carry the same mistakes.

The classifier is the nearest class centroid after whitening by the classes' shared covariance, with the classes'
shares as prior (linear discriminant analysis). It has a closed form, and on our drawings its accuracy equalled that of
logistic regression, which took 50 times as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.bootstrap import PERCENT, SEED, interval, redrawn
from lienzo.metrics.features import FeatureSet, check_pair
from lienzo.metrics.protocol import Protocol, Score


@dataclass(frozen=True)
class Modes:
    """The settings of the check.

    Attributes:
        folds: Parts of the real pictures that are withheld in turn; a class with fewer pictures is left out.
        shrink: Share in [0, 1] of a round covariance that is mixed into the measured one.
        smoothing: Pictures added to every class of the real histogram, so that no share is 0.
        draws: Bootstrap draws for the interval of label_kl; 0 for none.
        percent: What the interval covers.
    """

    folds: int = 5
    shrink: float = 0.2
    smoothing: float = 0.5
    draws: int = 100
    percent: float = PERCENT

    def __post_init__(self) -> None:
        if self.folds < 2 or not 0 < self.shrink <= 1 or not self.smoothing > 0:
            raise BadInput("Modes take 2 or more folds, a shrink above 0 and up to 1, and a smoothing above 0.")

    def fit(self, real: FeatureSet, labels: np.ndarray) -> FittedModes:
        """The classifiers of labelled real pictures.

        Args:
            real: Their features (N, D).
            labels: (N,) whole numbers, the class of each.

        Raises:
            BadInput: another number of labels, or fewer than 2 classes with enough pictures.
        """
        y = torch.from_numpy(np.asarray(labels).astype(np.int64))
        if y.shape != (len(real),):
            raise BadInput(f"There are {len(real)} real pictures but labels {tuple(y.shape)}.")
        present, counts = y.unique(return_counts=True)
        classes = present[counts >= self.folds]
        if len(classes) < 2:
            raise BadInput(
                f"Counting modes takes 2 or more classes with at least {self.folds} real pictures each; "
                f"there {'is 1' if len(classes) else 'is none'}."
            )
        kept = torch.isin(y, classes)
        rows, y = real.rows[kept].double().cpu(), torch.searchsorted(classes, y[kept])
        fold = _folds(y, self.folds)
        readers, read = [], torch.empty_like(y)
        for each in range(self.folds):
            withheld = fold == each
            readers.append(_discriminant(rows[~withheld], y[~withheld], len(classes), self.shrink))
            read[withheld] = readers[-1].read(rows[withheld])
        accuracy = float((read == y).double().mean())
        return FittedModes(self, real, tuple(classes.tolist()), tuple(readers), read, accuracy)


@dataclass(frozen=True, eq=False)
class FittedModes:
    """Classifiers at work.

    Attributes:
        classes: The labels that are counted, in the order of the classifiers' classes.
        read_real: (N,) class of each counted real picture, as read by a classifier that did not learn from it.
        accuracy: Share of them that was read rightly.
    """

    settings: Modes
    real: FeatureSet
    classes: tuple[int, ...]
    readers: tuple[Discriminant, ...]
    read_real: Tensor
    accuracy: float

    def read(self, fake: FeatureSet) -> Tensor:
        """(M,) class of each generated picture."""
        check_pair(self.real, fake)
        rows = fake.rows.double().cpu()
        found = torch.empty(len(rows), dtype=torch.int64)
        for fold, reader in enumerate(self.readers):
            found[fold :: len(self.readers)] = reader.read(rows[fold :: len(self.readers)])
        return found

    def measure(self, fake: FeatureSet) -> dict[str, Score]:
        """The scores ``modes_hit`` and ``label_kl``; a note of each says what real pictures would score."""
        s, read, n = self.settings, self.read(fake), len(self.classes)
        real, generated = (torch.bincount(each, minlength=n).double() for each in (self.read_real, read))
        reader = {
            "reader": "lda", "shrink": f"{s.shrink:g}", "folds": s.folds, "classes": n, "acc": f"{self.accuracy:.2f}",
            "n": len(fake), "ref": len(self.real),
        }  # fmt: skip
        hits, divergences = self._by_chance(real, len(fake))
        value = divergence(generated, real, s.smoothing)
        draws = [self._redrawn(read, draw) for draw in range(s.draws)]
        spread = interval(value, torch.tensor(draws, dtype=torch.float64), s.percent)
        spread = None if spread is None else (max(spread[0], 0.0), spread[1])
        right = f"the classifier is right on {self.accuracy:.0%} of withheld real pictures."
        usual = f"{len(fake)} real pictures would score"
        hit_note = f"{usual} {hits.mean():.1f} of {n} on average; {right}"
        most = np.quantile(divergences, 0.95)
        kl_note = f"{usual} {divergences.mean():.3g} on average, and under {most:.3g} in 95 of 100 cases."
        made = fake.made
        return {
            "modes_hit": Score(
                "modes_hit", float((generated > 0).sum()), Protocol.of("modes_hit", made, reader), None, (hit_note,)
            ),
            "label_kl": Score(
                "label_kl",
                value,
                Protocol.of("label_kl", made, reader, {"smooth": f"{s.smoothing:g}"}),
                spread,
                (kl_note,),
            ),
        }

    def _redrawn(self, read: Tensor, draw: int) -> float:
        n = len(self.classes)
        sides = (read[redrawn(len(read), draw, 1)], self.read_real[redrawn(len(self.read_real), draw, 0)])
        generated, real = (torch.bincount(each, minlength=n).double() for each in sides)
        return divergence(generated, real, self.settings.smoothing)

    def _by_chance(self, real: Tensor, count: int, draws: int = 500) -> tuple[np.ndarray, np.ndarray]:
        """Hits and divergences of `count` pictures that are spread over the classes as the real ones are."""
        rng, shares = np.random.default_rng((SEED, 2)), (real / real.sum()).numpy()
        hits, divergences = np.empty(draws), np.empty(draws)
        for draw in range(draws):
            generated = torch.from_numpy(rng.multinomial(count, shares)).double()
            reference = torch.from_numpy(rng.multinomial(int(real.sum()), shares)).double()
            hits[draw] = float((generated > 0).sum())
            divergences[draw] = divergence(generated, reference, self.settings.smoothing)
        return hits, divergences


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A linear classifier: class scores are ``rows @ weights + bias``."""

    weights: Tensor  # (D, C)
    bias: Tensor  # (C,)

    def read(self, rows: Tensor) -> Tensor:
        """(N,) the class with the highest score."""
        return (rows @ self.weights + self.bias).argmax(1)


def divergence(fake: Tensor, real: Tensor, smoothing: float) -> float:
    """KL(fake || real) in nats of two histograms (C,) of counts; only the real one is smoothed, 0 log 0 is 0."""
    q = (real + smoothing) / (real.sum() + smoothing * len(real))
    p = fake / fake.sum()
    seen = p > 0
    return float((p[seen] * (p[seen] / q[seen]).log()).sum())


def _folds(y: Tensor, folds: int) -> Tensor:
    """The fold of each picture. Every class is in every fold, in runs, since neighbours in a set are often alike."""
    found = torch.empty_like(y)
    for each in y.unique():
        places = (y == each).nonzero()[:, 0]
        found[places] = torch.arange(len(places)) * folds // len(places)
    return found


def _discriminant(rows: Tensor, y: Tensor, classes: int, shrink: float) -> Discriminant:
    counts = torch.bincount(y, minlength=classes).double()
    centroids = torch.zeros(classes, rows.shape[1], dtype=rows.dtype).index_add_(0, y, rows) / counts[:, None]
    around = rows - centroids[y]
    covariance = around.T @ around / max(len(rows) - classes, 1)
    size = covariance.diagonal().mean().clamp(min=1e-12)
    covariance = (1 - shrink) * covariance + shrink * size * torch.eye(len(covariance), dtype=rows.dtype)
    weights = torch.linalg.solve(covariance, centroids.T)  # (D, C)
    return Discriminant(weights, (counts / counts.sum()).log() - 0.5 * (centroids.T * weights).sum(0))
