"""CMMD against the double sum, in both number types."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lienzo.core.errors import BadInput
from lienzo.metrics.cmmd import Cmmd
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.products import centre, walk


def embeddings(n: int, seed: int, shift: float = 0.0) -> FeatureSet:
    x = torch.randn(n, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    return FeatureSet(F.normalize(x, dim=1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("sigma", [10.0, 0.7])
def test_equals_the_double_sum(dtype: torch.dtype, sigma: float) -> None:
    real, fake = embeddings(30, 0), embeddings(40, 1, 0.3)
    x, y = real.rows, fake.rows

    def mean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((a[:, None] - b).square().sum(2) / (-2 * sigma**2)).exp().mean()

    expected = 1000 * float(mean(x, x) + mean(y, y) - 2 * mean(x, y))
    sides = centre(x, y, dtype)
    passed = Cmmd(sigma=sigma, draws=0).start(real, fake, sides)
    walk(sides, [passed])
    actual = passed.scores()["cmmd"].value
    assert actual == pytest.approx(expected, rel=1e-10 if dtype is torch.float64 else 1e-5)


def test_the_score() -> None:
    real, fake = embeddings(60, 0), embeddings(50, 1, 0.2)
    score = Cmmd().measure(real, fake)["cmmd"]
    low, high = score.interval or (1.0, 0.0)
    assert low < score.value < high
    assert str(score.protocol) == "cmmd[sigma=10,n=50,ref=60]"
    assert abs(Cmmd().measure(real, real)["cmmd"].value) < 1e-10
    with pytest.raises(BadInput, match="above 0"):
        Cmmd(sigma=-1)
