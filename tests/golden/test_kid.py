"""KID against torch-fidelity and clean-fid; their kernels are float32."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import Golden

from lienzo.metrics.features import FeatureSet
from lienzo.metrics.kernel_sums import Gaussian, Kernel
from lienzo.metrics.kid import Kid
from lienzo.metrics.products import centre, walk

OPTIONS = {
    "kid_subsets": "subsets",
    "kid_subset_size": "subset_size",
    "kid_kernel": "kernel",
    "kid_kernel_poly_degree": "degree",
    "kid_kernel_poly_gamma": "gamma",
    "kid_kernel_poly_coef0": "coef0",
    "kid_kernel_rbf_sigma": "sigma",
    "rng_seed": "seed",
}


@pytest.mark.golden("kid*.safetensors")
def test_against_torch_fidelity(golden_path: Path) -> None:
    golden = Golden(golden_path)
    fake, real = FeatureSet(golden.tensors["x"]), FeatureSet(golden.tensors["y"])
    options = our_options(golden)
    for name, expected in golden.config["expected"].items():
        if not name.startswith("torch_fidelity_"):
            continue
        width = re.fullmatch(r"torch_fidelity_rbf([\d.]+)", name)
        changed = {"kernel": "rbf", "sigma": float(width[1])} if width else {"kernel": "poly"}
        scores = Kid(**options | changed).measure(real, fake)
        assert scores["kid"].value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4), name
        assert scores["kid_std"].value == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-4), name


@pytest.mark.golden("kid*.safetensors")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_each_subset(golden_path: Path, dtype: torch.dtype) -> None:
    golden = Golden(golden_path)
    fake, real = FeatureSet(golden.tensors["x"]), FeatureSet(golden.tensors["y"])
    sides, metric = centre(real.rows, fake.rows, dtype), Kid(**our_options(golden))
    passed = metric.start(real, fake, sides)
    walk(sides, [passed])
    estimates = passed.estimates()[0]
    kernel = passed.sums.kernel
    for i, (rows, cols) in enumerate(zip(golden.tensors["idx_x"], golden.tensors["idx_y"])):
        x, y, m = fake.rows[rows].double(), real.rows[cols].double(), len(rows)
        k = [plain_kernel(kernel, a, b) for a, b in ((x, x), (y, y), (x, y))]
        within = sum(one.sum() - one.diagonal().sum() for one in k[:2])
        plain = float(within / (m * (m - 1)) - 2 * k[2].sum() / m**2)
        size = float(k[2].mean())
        assert abs(float(estimates[i]) - plain) <= (1e-13 if dtype is torch.float64 else 1e-7) * size, i
    difference = (estimates - golden.tensors["per_subset_mmd2"].double()).abs().max()
    assert difference <= 1e-6


@pytest.mark.golden("kid*.safetensors")
def test_other_estimates(golden_path: Path) -> None:
    golden = Golden(golden_path)
    options = our_options(golden)
    x, y = golden.tensors["x"], golden.tensors["y"]
    for name, expected in golden.config["expected"].items():
        if first := re.fullmatch(r"single_subset_first(\d+)_unbiased", name):
            n = int(first[1])
            metric = Kid(**options | {"subsets": 1, "subset_size": n, "kernel": "poly"})
            actual = metric.measure(FeatureSet(y[:n]), FeatureSet(x[:n]))["kid"].value
            assert actual == pytest.approx(expected, rel=1e-4), name
        elif clean := re.fullmatch(r"clean_fid_kernel_distance_npseed(\d+)_(\d+)x(\d+)", name):
            seed, subsets, size = map(int, clean.groups())
            metric = Kid(subsets=subsets, subset_size=size, seed=seed, draws=0)
            actual = metric.measure(FeatureSet(x), FeatureSet(y))["kid"].value
            assert actual == pytest.approx(expected, rel=1e-4), name
    if "replayed_mean_std" in golden.config["expected"]:
        scores = Kid(**options).measure(FeatureSet(y), FeatureSet(x))
        actual = np.array([scores["kid"].value, scores["kid_std"].value])
        np.testing.assert_allclose(actual, golden.config["expected"]["replayed_mean_std"], rtol=1e-4)


def plain_kernel(kernel: Kernel, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if isinstance(kernel, Gaussian):
        return (torch.cdist(x, y).square() / (-2 * kernel.sigma**2)).exp()
    return (kernel.gamma * x @ y.T + kernel.coef0) ** kernel.degree


def our_options(golden: Golden) -> dict[str, Any]:
    given = golden.config["kwargs"]
    return {ours: given[theirs] for theirs, ours in OPTIONS.items() if theirs in given} | {"draws": 0}
