"""Frechet Inception Distance: the distance between two Gaussians fitted to the features.

d^2 = |m1 - m2|^2 + Tr S1 + Tr S2 - 2 Tr (S1 S2)^(1/2), covariances with n - 1, all in float64.

With S1 = A^T A and S2 = B^T B the last trace is the nuclear norm of A B^T. So no root of a matrix that is not
symmetric is needed: it works with fewer pictures than features, with one feature, and is many times faster.

Reference: Heusel et al. 2017, arXiv 1706.08500.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lienzo.metrics.bootstrap import PERCENT, interval, redrawn
from lienzo.metrics.features import FeatureSet, check_dims, check_made, check_pair
from lienzo.metrics.gaussian_roots import Root, nuclear_norm, root_of_covariance, root_of_rows
from lienzo.metrics.protocol import Protocol, Score


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and covariance of features whose rows are not at hand, as published files hold them.

    Attributes:
        mu: (D,) float64.
        sigma: (D, D) float64.
        n: How many pictures it was, where known.
        made: As in `FeatureSet`; empty where the file does not tell, and then not checked.
    """

    mu: np.ndarray
    sigma: np.ndarray
    n: int | None = None
    made: dict[str, str] = field(default_factory=dict)


def statistics(features: FeatureSet) -> Statistics:
    """Mean and covariance (n - 1) of features."""
    rows = features.rows.double().cpu().numpy()
    mu = rows.mean(0)
    rows = rows - mu
    return Statistics(mu, rows.T @ rows / (len(rows) - 1), len(rows), dict(features.made))


def frechet_distance(a: Root, b: Root) -> float:
    """The distance squared, as FID is quoted; a result below 0 that rounding explains is 0."""
    size = a.trace + b.trace
    distance = float(np.square(a.mu - b.mu).sum()) + size - 2 * nuclear_norm(a.rows, b.rows)
    return 0.0 if -1e-6 * size < distance < 0 else distance


def fid(real: Tensor | Statistics, fake: Tensor | Statistics) -> float:
    """FID from rows (N, D) or from statistics, in any mixture."""
    return frechet_distance(root(real), root(fake))


def root(side: Tensor | Statistics) -> Root:
    """The Gaussian of one side."""
    return root_of_covariance(side.mu, side.sigma) if isinstance(side, Statistics) else root_of_rows(side)


@dataclass(frozen=True)
class Fid:
    """FID. Lower is better, 0 is equal; it is biased upwards, so compare only at equal numbers of pictures.

    Attributes:
        draws: Bootstrap draws for the interval; each costs one more FID, so 0 by default and 50 when wanted.
        percent: What the interval covers.
    """

    needs: ClassVar = "features"
    draws: int = 0
    percent: float = PERCENT

    def measure(self, real: FeatureSet | Statistics, fake: FeatureSet) -> dict[str, Score]:
        """The score ``fid``; `real` may be published statistics, which the interval then takes as exact."""
        reference = check_reference(real, fake)
        value = frechet_distance(root(reference), root(fake.rows))
        fixed = root(reference) if self.draws and isinstance(reference, Statistics) else None
        draws = [self._redrawn(reference, fake.rows, draw, fixed) for draw in range(self.draws)]
        protocol = Protocol.of("fid", fake.made, {"n": len(fake), "ref": reference_size(real)})
        spread = interval(value, torch.tensor(draws, dtype=torch.float64), self.percent)
        return {"fid": Score("fid", value, protocol, spread, too_few(real, fake))}

    def _redrawn(self, real: Tensor | Statistics, fake: Tensor, draw: int, fixed: Root | None) -> float:
        if fixed is None:
            assert isinstance(real, Tensor)
            fixed = root_of_rows(real[redrawn(len(real), draw, 0)])
        return frechet_distance(fixed, root_of_rows(fake[redrawn(len(fake), draw, 1)]))


def check_reference(real: FeatureSet | Statistics, fake: FeatureSet) -> Tensor | Statistics:
    """What the real side offers, once it is known to fit the generated one; BadInput in one sentence else."""
    if isinstance(real, FeatureSet):
        check_pair(real, fake)
        return real.rows
    if real.made:
        check_made(real.made, fake.made)
    check_dims(len(real.mu), fake.dim)
    return real


def reference_size(real: FeatureSet | Statistics) -> str:
    """How many real pictures, for a protocol."""
    n = real.n if isinstance(real, Statistics) else len(real)
    return "unknown" if n is None else str(n)


def too_few(real: FeatureSet | Statistics, fake: FeatureSet) -> tuple[str, ...]:
    """A note where a set is too small for its covariance to be known."""
    sizes = [n for n in (len(fake), real.n if isinstance(real, Statistics) else len(real)) if n is not None]
    if min(sizes) >= 2 * fake.dim:
        return ()
    return (f"FID of {min(sizes)} pictures with {fake.dim} features is far too high; take {2 * fake.dim} or more.",)
