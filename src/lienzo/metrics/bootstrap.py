"""How far a figure would move with another draw of pictures: the bootstrap, with a fixed seed.

The pictures are drawn again with replacement, as many as there are, and the figure is computed anew. A redrawn set
holds repeats, which moves distances such as FID upwards; that shift is no part of the spread and is taken off: the
interval is the figure itself plus how far the draws' percentiles lie from the draws' mean.

Reference: Efron & Tibshirani 1993, An Introduction to the Bootstrap.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput

SEED = 2020
PERCENT = 95.0


def redrawn(n: int, draw: int, which: int) -> Tensor:
    """Row numbers (n,) of one draw with replacement; `which` (0 real, 1 fake) keeps two sets independent."""
    return torch.from_numpy(np.random.default_rng((SEED, which, draw)).integers(n, size=n))


def counts(n: int, draws: int, which: int) -> Tensor:
    """How often each row occurs in each draw, float64 (n, draws): the draws of `redrawn`."""
    columns = [torch.bincount(redrawn(n, draw, which), minlength=n) for draw in range(draws)]
    return torch.stack(columns, 1).double() if columns else torch.zeros(n, 0, dtype=torch.float64)


def interval(value: float, draws: Tensor, percent: float = PERCENT) -> tuple[float, float] | None:
    """The interval around `value` that the figures of the draws (K,) give; None without draws.

    Raises:
        BadInput: `percent` is not between 0 and 100, or there is only one draw.
    """
    if not 0 < percent < 100:
        raise BadInput(f"An interval covers between 0 and 100 percent, not {percent:g}.")
    if len(draws) == 0:
        return None
    if len(draws) == 1:
        raise BadInput("An interval needs at least 2 draws.")
    tail = (100 - percent) / 200
    spread = torch.quantile(draws.double() - draws.double().mean(), draws.new_tensor([tail, 1 - tail]).double())
    return value + float(spread[0]), value + float(spread[1])


def mean_interval(values: Tensor, draws: int, which: int, percent: float = PERCENT) -> tuple[float, float] | None:
    """The interval of the mean of `values` (N,), one number a picture."""
    values = values.double().cpu()
    return interval(float(values.mean()), values @ counts(len(values), draws, which) / len(values), percent)
