"""Kernel Inception Distance: the squared MMD between two sets of features, without bias.

With the kernel (x.y / D + 1)^3, over random subsets of m pictures of each set:

    MMD^2 = (sum_{i != j} k(x_i, x_j) + sum_{i != j} k(y_i, y_j)) / (m (m - 1)) - 2 sum_ij k(x_i, y_j) / m^2

The figure is the mean over subsets, its spread their population deviation. Subsets are drawn as torch-fidelity does,
the generated set first, by numpy's RandomState; seed 0 gives what clean-fid gives after ``np.random.seed(0)``.

Reference: Binkowski et al. 2018, arXiv 1801.01401.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.bootstrap import PERCENT, counts, interval
from lienzo.metrics.features import FeatureSet, check_pair
from lienzo.metrics.kernel_sums import Gaussian, Kernel, KernelSums, Polynomial
from lienzo.metrics.products import Sides, Which, centre, walk
from lienzo.metrics.protocol import Protocol, Score


@dataclass(frozen=True)
class Kid:
    """KID. Lower is better; without bias, so it may come out a little below 0.

    Attributes:
        subsets: How many random subsets.
        subset_size: Pictures of each set in a subset; all, where a set has fewer.
        kernel: ``poly``, or ``rbf`` with the width `sigma`.
        degree, gamma, coef0: Of the polynomial; gamma None stands for 1 / D.
        sigma: Width of the Gaussian kernel.
        seed: Which subsets.
        draws: Bootstrap draws for the interval; 0 for none.
        percent: What the interval covers.
    """

    needs: ClassVar = "features"
    subsets: int = 100
    subset_size: int = 1000
    kernel: Literal["poly", "rbf"] = "poly"
    degree: int = 3
    gamma: float | None = None
    coef0: float = 1.0
    sigma: float = 10.0
    seed: int = 2020
    draws: int = 100
    percent: float = PERCENT

    def __post_init__(self) -> None:
        if self.subsets < 1 or self.subset_size < 2 or self.degree < 1 or self.kernel not in ("poly", "rbf"):
            raise BadInput("KID takes subsets of 2 or more pictures, and the kernel rbf or poly of degree 1 or more.")
        if not self.sigma > 0:
            raise BadInput(f"The width of KID's kernel must be above 0, not {self.sigma:g}.")

    def measure(self, real: FeatureSet, fake: FeatureSet) -> dict[str, Score]:
        """The scores ``kid`` and ``kid_std`` (over subsets, not of the mean)."""
        check_pair(real, fake)
        sides = centre(real.rows, fake.rows)
        pass_ = self.start(real, fake, sides)
        walk(sides, [pass_])
        return pass_.scores()

    def start(self, real: FeatureSet, fake: FeatureSet, sides: Sides) -> KidPass:
        """What reads the shared pass over all pairs."""
        return KidPass(self, real, fake, sides)

    def size(self, real: FeatureSet, fake: FeatureSet) -> int:
        """Pictures of each set in a subset."""
        return min(self.subset_size, len(real), len(fake))

    def chosen(self, dim: int) -> Kernel:
        """The kernel for features of `dim` numbers."""
        if self.kernel == "rbf":
            return Gaussian(self.sigma)
        return Polynomial(self.degree, 1 / dim if self.gamma is None else self.gamma, self.coef0)

    def settings(self, size: int) -> dict[str, str]:
        """Fields of the protocol."""
        kernel = f"rbf{self.sigma:g}" if self.kernel == "rbf" else f"poly{self.degree}"
        if self.kernel == "poly" and (self.gamma is not None or self.coef0 != 1):
            kernel += f":{'1/d' if self.gamma is None else format(self.gamma, 'g')}:{self.coef0:g}"
        return {"kernel": kernel, "subsets": f"{self.subsets}x{size}", "seed": str(self.seed)}


class KidPass:
    """KID's part in the pass over all pairs: subsets first, bootstrap draws after them, each a column of weights."""

    def __init__(self, metric: Kid, real: FeatureSet, fake: FeatureSet, sides: Sides):
        self.metric, self.real, self.fake = metric, real, fake
        fakes, reals = self._subsets()
        weights_real = torch.cat([reals, counts(len(real), metric.draws, 0)], 1)
        weights_fake = torch.cat([fakes, counts(len(fake), metric.draws, 1)], 1)
        self.sums = KernelSums(metric.chosen(real.dim), sides, {"real": weights_real, "fake": weights_fake})

    def read(self, which: Which, rows: slice, cols: slice, products: Tensor) -> None:
        self.sums.read(which, rows, cols, products)

    def _subsets(self) -> tuple[Tensor, Tensor]:
        random, size = np.random.RandomState(self.metric.seed), self.metric.size(self.real, self.fake)
        fakes = torch.zeros(len(self.fake), self.metric.subsets, dtype=torch.float64)
        reals = torch.zeros(len(self.real), self.metric.subsets, dtype=torch.float64)
        for column in range(self.metric.subsets):
            for weights in (fakes, reals):
                weights[random.choice(len(weights), size, replace=False), column] = 1
        return fakes, reals

    def estimates(self) -> tuple[Tensor, Tensor]:
        """The squared MMD of each subset, and of each bootstrap draw of all pictures, float64."""
        n, m, size = len(self.real), len(self.fake), self.metric.size(self.real, self.fake)
        parts = [self.sums.totals[name].cpu() for name in ("real", "fake", "cross")]
        split = self.metric.subsets
        a, b, c = (part[:split] for part in parts)
        subsets = (a + b) / (size * (size - 1)) - 2 * c / size**2
        a, b, c = (part[split:] for part in parts)
        return subsets, a / (n * (n - 1)) + b / (m * (m - 1)) - 2 * c / (n * m)

    def scores(self) -> dict[str, Score]:
        subsets, draws = self.estimates()
        size, metric = self.metric.size(self.real, self.fake), self.metric
        notes = () if size == metric.subset_size else (f"KID's subsets have {size} pictures, all that there are.",)
        made = (self.fake.made, metric.settings(size), {"n": len(self.fake), "ref": len(self.real)})
        mean, deviation = float(subsets.mean()), float(subsets.std(correction=0))
        spread = interval(mean, draws, metric.percent)
        return {
            "kid": Score("kid", mean, Protocol.of("kid", *made), spread, notes),
            "kid_std": Score("kid_std", deviation, Protocol.of("kid_std", *made), None, notes),
        }
