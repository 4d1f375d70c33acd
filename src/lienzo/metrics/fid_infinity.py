"""FID-infinity: FID without its bias, as it would be with endless pictures.

FID of n generated pictures lies above the true distance by about a constant over n. It is measured at several n from
random choices of the pictures, and the line through the figures against 1/n is followed to 1/n = 0. The real side
stays whole, so two figures compare only with the same reference.

Reference: Chong & Forsyth 2020, arXiv 1911.07023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import Statistics, check_reference, frechet_distance, reference_size, root, too_few
from lienzo.metrics.gaussian_roots import root_of_rows
from lienzo.metrics.protocol import Protocol, Score


@dataclass(frozen=True)
class FidInfinity:
    """FID followed to endless pictures; lower is better.

    Attributes:
        points: How many sizes are measured, evenly from `smallest` to all pictures; the cost is one FID each.
        smallest: The least size; 0 stands for 5000, or half the pictures where there are fewer than 10 000.
        seed: Which pictures are chosen.
    """

    needs: ClassVar = "features"
    points: int = 15
    smallest: int = 0
    seed: int = 2020

    def measure(self, real: FeatureSet | Statistics, fake: FeatureSet) -> dict[str, Score]:
        """The score ``fid_infinity``.

        Raises:
            BadInput: fewer than 2 points, or too few pictures for them.
        """
        n, smallest = len(fake), self.smallest or min(5000, len(fake) // 2)
        if self.points < 2 or not 2 <= smallest < n:
            raise BadInput(f"FID-infinity takes 2 or more points from 2 to {n}, not {self.points} from {smallest}.")
        fixed = root(check_reference(real, fake))
        choose = np.random.RandomState(self.seed)
        sizes = np.linspace(smallest, n, self.points).round().astype(int)
        picks = [torch.from_numpy(choose.permutation(n)[:size]) for size in sizes]
        values = [frechet_distance(fixed, root_of_rows(fake.rows[pick])) for pick in picks]
        limit = float(np.polynomial.polynomial.polyfit(1 / sizes, values, 1)[0])
        settings = {"points": self.points, "from": smallest, "seed": self.seed}
        protocol = Protocol.of("fid_infinity", fake.made, settings, {"n": n, "ref": reference_size(real)})
        return {"fid_infinity": Score("fid_infinity", limit, protocol, notes=too_few(real, fake))}
