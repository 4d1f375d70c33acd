"""CMMD: the squared MMD between CLIP embeddings of two sets of pictures, times 1000.

1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)), k Gaussian of width 10, with each picture's pair with itself;
embeddings have unit length. It needs far fewer pictures than FID and assumes no Gaussian.

Reference: Jayasumana et al. 2024, arXiv 2401.09603 (there with CLIP ViT-L/14 at 336 pixels).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.bootstrap import PERCENT, counts, interval
from lienzo.metrics.features import FeatureSet, check_pair
from lienzo.metrics.kernel_sums import Gaussian, KernelSums
from lienzo.metrics.products import Sides, Which, centre, walk
from lienzo.metrics.protocol import Protocol, Score

SCALE = 1000.0


@dataclass(frozen=True)
class Cmmd:
    """CMMD. Lower is better, 0 is equal.

    Attributes:
        sigma: Width of the kernel.
        draws: Bootstrap draws for the interval; 0 for none.
        percent: What the interval covers.
    """

    needs: ClassVar = "clip"
    sigma: float = 10.0
    draws: int = 100
    percent: float = PERCENT

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise BadInput(f"The width of CMMD's kernel must be above 0, not {self.sigma:g}.")

    def measure(self, real: FeatureSet, fake: FeatureSet) -> dict[str, Score]:
        """The score ``cmmd`` of embeddings of unit length."""
        check_pair(real, fake)
        sides = centre(real.rows, fake.rows)
        pass_ = self.start(real, fake, sides)
        walk(sides, [pass_])
        return pass_.scores()

    def start(self, real: FeatureSet, fake: FeatureSet, sides: Sides) -> CmmdPass:
        """What reads the shared pass over all pairs."""
        return CmmdPass(self, real, fake, sides)


class CmmdPass:
    """CMMD's part in the pass over all pairs: everything with weight 1, then the bootstrap draws."""

    def __init__(self, metric: Cmmd, real: FeatureSet, fake: FeatureSet, sides: Sides):
        self.metric, self.real, self.fake = metric, real, fake
        reals, fakes = (
            torch.cat([torch.ones(len(one), 1, dtype=torch.float64), counts(len(one), metric.draws, which)], 1)
            for which, one in enumerate((real, fake))
        )
        self.sums = KernelSums(Gaussian(metric.sigma), sides, {"real": reals, "fake": fakes})

    def read(self, which: Which, rows: slice, cols: slice, products: Tensor) -> None:
        self.sums.read(which, rows, cols, products)

    def scores(self) -> dict[str, Score]:
        n, m, totals, selves = len(self.real), len(self.fake), self.sums.totals, self.sums.selves
        within = (totals["real"] + selves["real"]) / n**2 + (totals["fake"] + selves["fake"]) / m**2
        values = SCALE * (within - 2 * totals["cross"] / (n * m)).cpu()
        protocol = Protocol.of("cmmd", self.fake.made, {"sigma": f"{self.metric.sigma:g}", "n": m, "ref": n})
        spread = interval(float(values[0]), values[1:], self.metric.percent)
        return {"cmmd": Score("cmmd", float(values[0]), protocol, spread)}
