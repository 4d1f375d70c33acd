"""Precision and recall, density and coverage: quality and variety apart, by balls around each picture.

A picture's ball reaches to its k-th nearest picture of the same set, itself not counted.

* precision: share of generated pictures inside a real ball; recall: share of real pictures inside a generated ball;
* density: how many real balls a generated picture lies in, over k, on average (may exceed 1);
* coverage: share of real balls that hold a generated picture. The robust one for lost modes.

All four come from one look at the distances. What rounding could change is decided in float64.

Reference: Kynkaanniemi et al. 2019, arXiv 1904.06991 (k = 3, rim included, as in torch-fidelity); Naeem et al. 2020,
arXiv 2002.09797 (k = 5, rim excluded, as in prdc).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.bootstrap import PERCENT, mean_interval
from lienzo.metrics.features import FeatureSet, check_pair
from lienzo.metrics.neighbours import Neighbours, settle
from lienzo.metrics.products import Sides, Which, centre, squared_distances, walk
from lienzo.metrics.protocol import Protocol, Score


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision, recall, density and coverage; higher is better for each.

    Attributes:
        k: Neighbour that sets the balls of precision and recall.
        rim: Whether a picture exactly on a ball's rim is inside, for precision and recall.
        density_k: Neighbour that sets the balls of density and coverage.
        density_rim: As `rim`, for density and coverage.
        draws: Bootstrap draws for the intervals, with the balls as they are; 0 for none.
        percent: What the intervals cover.
    """

    needs: ClassVar = "features"
    k: int = 3
    rim: bool = True
    density_k: int = 5
    density_rim: bool = False
    draws: int = 100
    percent: float = PERCENT

    def measure(self, real: FeatureSet, fake: FeatureSet) -> dict[str, Score]:
        """The scores ``precision``, ``recall``, ``f_score``, ``density`` and ``coverage``."""
        check_pair(real, fake)
        sides = centre(real.rows, fake.rows)
        pass_ = self.start(real, fake, sides)
        walk(sides, [pass_])
        return pass_.scores()

    def start(self, real: FeatureSet, fake: FeatureSet, sides: Sides) -> PrecisionRecallPass:
        """What reads the shared pass over all pairs.

        Raises:
            BadInput: a set has no k-th neighbour.
        """
        least = min(len(real), len(fake))
        for k in (self.k, self.density_k):
            if not 1 <= k < least:
                raise BadInput(f"With {least} pictures in a set, k can be 1 to {least - 1}, not {k}.")
        return PrecisionRecallPass(self, real, fake, sides)


class PrecisionRecallPass:
    """Its part in the pass over all pairs: neighbours inside each set first, then who lies in whose ball."""

    def __init__(self, metric: PrecisionRecall, real: FeatureSet, fake: FeatureSet, sides: Sides):
        self.metric, self.real, self.fake, self.sides = metric, real, fake, sides
        most = max(metric.k, metric.density_k)
        self.neighbours = {"real": Neighbours(real.rows, most, sides), "fake": Neighbours(fake.rows, most, sides)}
        n, m, like = len(real), len(fake), sides.real.rows
        # how far inside (below 0) or outside (above 0) the nearest rim is, in squared distance
        self.precision, self.recall = like.new_full((m,), torch.inf), like.new_full((n,), torch.inf)
        self.coverage = like.new_full((n,), torch.inf)
        self.density = like.new_zeros(m, dtype=torch.float64)

    def read(self, which: Which, rows: slice, cols: slice, products: Tensor) -> None:
        distances = squared_distances(self.sides, which, rows, cols, products)
        if which != "cross":
            self.neighbours[which].read(rows, cols, distances)
            return
        metric, real, fake = self.metric, self.neighbours["real"], self.neighbours["fake"]
        beyond = settle(distances - real.radii(metric.k)[rows, None], real, fake, metric.k, rows, cols)
        self.precision[cols] = torch.minimum(self.precision[cols], beyond.amin(0))
        if (metric.density_k, metric.density_rim) != (metric.k, metric.rim):
            k = metric.density_k
            beyond = settle(distances - real.radii(k)[rows, None], real, fake, k, rows, cols)
        inside = torch.le if metric.density_rim else torch.lt
        self.density[cols] += inside(beyond, 0).to(beyond.dtype).sum(0)  # counts below 2^24 are exact
        self.coverage[rows] = torch.minimum(self.coverage[rows], beyond.amin(1))
        beyond = settle((distances - fake.radii(metric.k)[cols]).T, fake, real, metric.k, cols, rows)
        self.recall[rows] = torch.minimum(self.recall[rows], beyond.amin(0))

    def scores(self) -> dict[str, Score]:
        metric, n, m = self.metric, len(self.real), len(self.fake)
        inside, covered = (torch.le if rim else torch.lt for rim in (metric.rim, metric.density_rim))
        values = {
            "precision": (inside(self.precision, 0), 1),
            "recall": (inside(self.recall, 0), 0),
            "density": (self.density / metric.density_k, 1),
            "coverage": (covered(self.coverage, 0), 0),
        }
        scores = {}
        for name, (each, side) in values.items():
            first = name in ("precision", "recall")
            k, rim = (metric.k, metric.rim) if first else (metric.density_k, metric.density_rim)
            settings = {"k": k, "rim": "in" if rim else "out", "n": m, "ref": n}
            spread = mean_interval(each, metric.draws, side, metric.percent)
            protocol = Protocol.of(name, self.fake.made, settings)
            scores[name] = Score(name, float(each.double().mean()), protocol, spread)
        p, r = scores["precision"], scores["recall"]
        harmonic = 2 * p.value * r.value / max(p.value + r.value, 1e-5)
        scores["f_score"] = Score("f_score", harmonic, Protocol("f_score", p.protocol.fields))
        return scores
