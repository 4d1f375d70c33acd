"""Precision, recall, density and coverage by counting, in both number types, with ties."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics import products
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.precision_recall import PrecisionRecall
from lienzo.metrics.products import centre, walk


def counted(real: Tensor, fake: Tensor, k: int, rim: bool) -> dict[str, float]:
    """By the definitions, with distances from differences in float64."""

    def distances(a: Tensor, b: Tensor) -> Tensor:
        return (a.double()[:, None] - b.double()).square().sum(2)

    inside = torch.le if rim else torch.lt
    real_radii, fake_radii = (distances(one, one).sort(1).values[:, k] for one in (real, fake))
    cross = distances(real, fake)
    in_real, in_fake = inside(cross, real_radii[:, None]), inside(cross, fake_radii)
    return {
        "precision": float(in_real.any(0).double().mean()),
        "recall": float(in_fake.any(1).double().mean()),
        "density": float(in_real.sum(0).double().mean() / k),
        "coverage": float(in_real.any(1).double().mean()),
    }


def measured(real: Tensor, fake: Tensor, dtype: torch.dtype, **options: object) -> dict[str, float]:
    sets = FeatureSet(real), FeatureSet(fake)
    sides = centre(real, fake, dtype)
    passed = PrecisionRecall(**options).start(*sets, sides)
    walk(sides, [passed])
    return {name: score.value for name, score in passed.scores().items()}


def made(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("tile", [512, 16])
@pytest.mark.parametrize(("k", "rim"), [(1, True), (3, True), (5, False), (5, True)])
def test_equals_counting(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, tile: int, k: int, rim: bool) -> None:
    monkeypatch.setattr(products, "TILE", tile)
    whole = made(70, 3, 0)
    sets = {
        "random": (whole, made(50, 3, 1) * 1.2),
        "identical": (whole, whole.clone()),  # the k-th neighbour lies exactly on the rim
        "grid": (whole.round(), made(50, 3, 1).round()),  # many equal distances, and repeats
        "far from 0": (whole + 100, made(50, 3, 1) + 100),
        "collapsed": (whole, torch.ones(50, 3)),
    }
    for name, (real, fake) in sets.items():
        values = measured(real, fake, dtype, k=k, rim=rim, density_k=k, density_rim=rim)
        for score, expected in counted(real, fake, k, rim).items():
            assert values[score] == pytest.approx(expected, abs=1e-12), (name, score)


def test_both_kinds_in_one_pass() -> None:
    real, fake = made(60, 4, 0), made(70, 4, 1)
    values = measured(real, fake, torch.float64)
    first, second = counted(real, fake, 3, True), counted(real, fake, 5, False)
    assert values["precision"] == first["precision"]
    assert values["recall"] == first["recall"]
    assert values["density"] == pytest.approx(second["density"], abs=1e-12)
    assert values["coverage"] == second["coverage"]
    p, r = values["precision"], values["recall"]
    assert values["f_score"] == pytest.approx(2 * p * r / (p + r))


def test_a_lost_mode_lowers_recall_and_coverage_only() -> None:
    left, right = made(100, 4, 0) - 5, made(100, 4, 1) + 5
    values = measured(torch.cat([left, right]), made(200, 4, 2) - 5, torch.float64)
    assert values["precision"] > 0.8
    assert values["recall"] < 0.55
    assert values["coverage"] < 0.55


def test_protocols_and_intervals() -> None:
    scores = PrecisionRecall().measure(FeatureSet(made(60, 4, 0)), FeatureSet(made(70, 4, 1)))
    assert str(scores["precision"].protocol) == "precision[k=3,rim=in,n=70,ref=60]"
    assert str(scores["coverage"].protocol) == "coverage[k=5,rim=out,n=70,ref=60]"
    for name in ("precision", "recall", "density", "coverage"):
        low, high = scores[name].interval or (1.0, 0.0)
        assert low < scores[name].value < high, name


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 5}, {"density_k": 5}])
def test_settings_that_do_not_fit(options: dict[str, int]) -> None:
    options = {"k": 1, "density_k": 1} | options
    with pytest.raises(BadInput, match="With 5 pictures in a set, k can be 1 to 4"):
        PrecisionRecall(**options).measure(FeatureSet(made(5, 2, 0)), FeatureSet(made(9, 2, 1)))
