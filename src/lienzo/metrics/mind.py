"""MIND: the squared Wasserstein-2 distance of features along random directions, times 3 D.

Along one direction the distance is that between sorted projections; 1000 directions are averaged. It assumes no
Gaussian and needs no D x D matrix.

Reference: Berthet et al. 2026, arXiv 2605.06797; directions as torch-fidelity 0.5 draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.bootstrap import PERCENT, interval, redrawn
from lienzo.metrics.features import FeatureSet, check_pair
from lienzo.metrics.protocol import Protocol, Score

_BLOCK = 1 << 23  # projections at a time


@dataclass(frozen=True)
class Mind:
    """MIND. Lower is better, 0 is equal.

    Attributes:
        projections: How many directions.
        seed: Of the directions, and of the choice where one set is larger: the smaller number is taken of both.
        draws: Bootstrap draws for the interval, each as dear as the figure; 0 for none.
        percent: What the interval covers.
    """

    needs: ClassVar = "features"
    projections: int = 1000
    seed: int = 2020
    draws: int = 0
    percent: float = PERCENT

    def measure(self, real: FeatureSet, fake: FeatureSet) -> dict[str, Score]:
        """The score ``mind``."""
        check_pair(real, fake)
        if self.projections < 1:
            raise BadInput(f"MIND needs 1 or more directions, not {self.projections}.")
        generator, n = torch.Generator().manual_seed(self.seed), min(len(real), len(fake))
        x, y = (
            one.rows[torch.randperm(len(one), generator=generator)[:n]] if len(one) > n else one.rows
            for one in (fake, real)
        )
        directions = torch.randn(self.projections, real.dim, generator=generator)
        directions /= directions.norm(dim=1, keepdim=True).clamp(min=1e-12)
        value = _sliced(x, y, directions)
        draws = [_sliced(x[redrawn(n, i, 1)], y[redrawn(n, i, 0)], directions) for i in range(self.draws)]
        spread = interval(value, torch.tensor(draws, dtype=torch.float64), self.percent)
        settings = {"directions": self.projections, "seed": self.seed}
        protocol = Protocol.of("mind", fake.made, settings, {"n": len(fake), "ref": len(real)})
        return {"mind": Score("mind", value, protocol, spread)}


def _sliced(x: Tensor, y: Tensor, directions: Tensor) -> float:
    """3 D times the mean squared distance of sorted projections of x, y (n, D) on directions (P, D)."""
    x, y = x.double(), y.double()
    step, total = max(1, _BLOCK // len(x)), x.new_zeros(())
    for start in range(0, len(directions), step):
        part = directions[start : start + step].to(x)
        a, b = ((part @ side.T).sort(1).values for side in (x, y))
        total += (a - b).square().mean(1).sum()
    return float(3 * x.shape[1] * total / len(directions))
