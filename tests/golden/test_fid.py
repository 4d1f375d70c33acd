"""FID against pytorch-fid, TTUR, clean-fid and torch-fidelity, and against 40-digit values where there are some."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from goldens import Golden

from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import Fid, Statistics, fid, statistics

STABLE = ("stable_nuclear_norm", "mpmath40")
OTHERS = ("pytorch_fid", "ttur", "clean_fid", "torch_fidelity_f64", "stable_symmetric_eigh")


@pytest.mark.golden("fid*.safetensors")
def test_fid(golden_path: Path) -> None:
    golden = Golden(golden_path)
    for case, expected in golden.config["expected"].items():
        tensors = golden.part(case)
        x, y = tensors["x"], tensors["y"]
        size = float(x.double().var(0).sum() + y.double().var(0).sum())
        actual = fid(x, y)
        for name in STABLE:
            if name in expected:
                assert abs(actual - expected[name]) <= 1e-9 * abs(expected[name]) + 1e-14 * size, (case, name)
        from_moments = fid(statistics(FeatureSet(x)), statistics(FeatureSet(y)))
        for name in OTHERS:
            value = expected.get(name)
            if isinstance(value, float) and math.isfinite(value):
                assert abs(actual - value) <= 1e-6 * abs(value) + 1e-8 * size, (case, name)
                assert abs(from_moments - value) <= 1e-6 * abs(value) + 1e-8 * size, (case, name)
        assert abs(from_moments - actual) <= 1e-7 * abs(actual) + 1e-9 * size, case
        score = Fid().measure(FeatureSet(x), FeatureSet(y))["fid"]
        assert score.value == actual
        assert bool(score.notes) == (min(len(x), len(y)) < 2 * x.shape[1])


@pytest.mark.golden("fid*.safetensors")
def test_moments(golden_path: Path) -> None:
    golden = Golden(golden_path)
    for case, expected in golden.config["expected"].items():
        tensors = {key: value.numpy() for key, value in golden.part(case).items()}
        if "mu1" not in tensors:
            continue
        mine = statistics(FeatureSet(golden.tensors[f"{case}.x"]))
        np.testing.assert_allclose(mine.mu, tensors["mu1"], rtol=1e-12)
        np.testing.assert_allclose(mine.sigma, tensors["sigma1"], rtol=1e-9, atol=1e-13)
        sides = [Statistics(tensors[f"mu{i}"], tensors[f"sigma{i}"]) for i in (1, 2)]
        assert fid(*sides) == pytest.approx(expected["stable_nuclear_norm"], rel=1e-7), case
