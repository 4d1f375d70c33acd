"""KID against the double sum, its properties, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics import products
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.kid import Kid
from lienzo.metrics.products import centre, walk


def features(n: int, dim: int, seed: int, shift: float = 0.0) -> FeatureSet:
    generator = torch.Generator().manual_seed(seed)
    return FeatureSet(torch.randn(n, dim, generator=generator).relu() + shift)


def plain(x: Tensor, y: Tensor, kernel: object) -> float:
    """The unbiased estimate by the double sum."""
    x, y = x.double(), y.double()
    within = [
        (kernel(one, one) - torch.diag(kernel(one, one).diagonal())).sum() / (len(one) * (len(one) - 1))
        for one in (x, y)
    ]
    return float(sum(within) - 2 * kernel(x, y).mean())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        ({}, lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3),
        ({"degree": 1}, lambda a, b: a @ b.T / a.shape[1] + 1),
        ({"degree": 2, "gamma": 0.4, "coef0": 0.0}, lambda a, b: (0.4 * a @ b.T) ** 2),
        ({"degree": 5, "coef0": -0.3}, lambda a, b: (a @ b.T / a.shape[1] - 0.3) ** 5),
        ({"kernel": "rbf", "sigma": 2.0}, lambda a, b: (-torch.cdist(a, b).square() / 8).exp()),
    ],
)
@pytest.mark.parametrize("tile", [512, 7])
def test_each_kernel_and_number_type(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, options: dict, kernel: object, tile: int
) -> None:
    monkeypatch.setattr(products, "TILE", tile)
    real, fake = features(20, 9, 0), features(25, 9, 1, 0.2)
    sides = centre(real.rows, fake.rows, dtype)
    passed = Kid(subsets=3, subset_size=15, draws=0, **options).start(real, fake, sides)
    walk(sides, [passed])
    random, expected = np.random.RandomState(2020), []
    for _ in range(3):
        y, x = (one.rows[random.choice(len(one), 15, replace=False)] for one in (fake, real))
        expected.append(plain(x, y, kernel))
    assert passed.estimates()[0].tolist() == pytest.approx(expected, abs=1e-12 if dtype is torch.float64 else 1e-6)


def test_it_is_unbiased() -> None:
    """Two sets of one distribution: the mean over many small subsets is 0 within its own spread."""
    real, fake = features(1000, 5, 0), features(1000, 5, 1)
    scores = Kid(subsets=400, subset_size=10, draws=0).measure(real, fake)
    assert abs(scores["kid"].value) < 4 * scores["kid_std"].value / 20
    apart = Kid(subsets=400, subset_size=10, draws=0).measure(real, features(1000, 5, 1, 0.3))
    assert apart["kid"].value > 20 * scores["kid_std"].value / 20


def test_float32_keeps_the_digits_under_a_large_mean() -> None:
    """The common mean is far larger than what tells the sets apart; float32 products alone would drown it."""
    real, fake = features(300, 16, 0, 30.0), features(300, 16, 1, 30.01)
    values = []
    for dtype in (torch.float64, torch.float32):
        sides = centre(real.rows.double(), fake.rows.double(), dtype)
        passed = Kid(subsets=2, subset_size=300, draws=0).start(real, fake, sides)
        walk(sides, [passed])
        values.append(float(passed.estimates()[0][0]))
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_the_interval() -> None:
    real, fake = features(400, 6, 0), features(300, 6, 1, 0.1)
    score = Kid(subsets=50, subset_size=200).measure(real, fake)["kid"]
    assert score.interval
    low, high = score.interval
    assert low < score.value < high
    values = []
    for seed in range(2, 62):
        one = Kid(subsets=1, subset_size=300, draws=0)
        values.append(one.measure(features(300, 6, seed), features(300, 6, seed + 100, 0.1))["kid"].value)
    assert 0.5 < (high - low) / (2 * 1.96 * np.std(values)) < 1.8


def test_the_protocol_and_small_sets() -> None:
    real, fake = features(20, 4, 0), features(12, 4, 1)
    scores = Kid(draws=0).measure(real, fake)
    assert str(scores["kid"].protocol) == "kid[kernel=poly3,subsets=100x12,seed=2020,n=12,ref=20]"
    assert scores["kid"].notes == ("KID's subsets have 12 pictures, all that there are.",)
    odd = Kid(subset_size=5, gamma=0.5, coef0=2.0, draws=0).measure(real, fake)["kid"]
    assert odd.protocol["kernel"] == "poly3:0.5:2"
    assert Kid(subset_size=5, kernel="rbf", draws=0).measure(real, fake)["kid"].protocol["kernel"] == "rbf10"


@pytest.mark.parametrize(
    "options", [{"subsets": 0}, {"subset_size": 1}, {"degree": 0}, {"kernel": "cosine"}, {"sigma": 0.0}]
)
def test_settings_that_do_not_fit(options: dict) -> None:
    with pytest.raises(BadInput):
        Kid(**options)
