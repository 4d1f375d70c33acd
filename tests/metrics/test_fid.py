"""FID against closed forms, its properties, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics import gaussian_roots
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import Fid, Statistics, fid, statistics
from lienzo.metrics.gaussian_roots import nuclear_norm, root_of_covariance, root_of_rows


def random(n: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_eigenvalues(x: Tensor, y: Tensor) -> float:
    """The formula with a root by `eigh`: the plain way, good to about 1e-7."""
    s1, s2 = (torch.cov(one.double().T).reshape(x.shape[1], -1) for one in (x, y))
    values, vectors = torch.linalg.eigh(s1)
    half = vectors * values.clamp(min=0).sqrt() @ vectors.T
    trace = torch.linalg.eigvalsh(half @ s2 @ half).clamp(min=0).sqrt().sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + s1.trace() + s2.trace() - 2 * trace)


@pytest.mark.parametrize(("n", "m", "dim"), [(40, 50, 8), (6, 50, 8), (5, 6, 30), (2, 2, 3), (9, 8, 8), (20, 30, 1)])
def test_equals_the_formula_at_any_rank(n: int, m: int, dim: int) -> None:
    x, y = random(n, dim), 1.5 * random(m, dim, 1) + 0.3
    assert fid(x, y) == pytest.approx(by_eigenvalues(x, y), rel=1e-6)
    assert fid(y, x) == pytest.approx(fid(x, y), rel=1e-12)


def test_one_feature_has_a_closed_form() -> None:
    x, y = random(30, 1), 2 * random(20, 1, 1) + 1
    expected = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert fid(x, y) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("n", "dim"), [(50, 8), (8, 50)])
def test_identical_sets_are_at_zero(n: int, dim: int) -> None:
    x = random(n, dim)
    assert 0 <= fid(x, x.clone()) < 1e-12 * float(x.var(0).sum())
    assert 0 <= fid(x, x[torch.randperm(n)]) < 1e-12 * float(x.var(0).sum())


def test_rank_deficient_sets_are_exact() -> None:
    """Rows in a plane of 3 directions: the distance is the one inside the plane."""
    basis = torch.linalg.qr(random(20, 3, 5)).Q
    for n, m in ((60, 50), (10, 12)):
        x, y = random(n, 3, 1), 2 * random(m, 3, 2)
        assert fid(x @ basis.T, y @ basis.T) == pytest.approx(fid(x, y), rel=1e-12)


def test_from_statistics_and_mixed() -> None:
    x, y = FeatureSet(random(40, 6)), FeatureSet(random(30, 6, 1) + 1)
    plain = fid(x.rows, y.rows)
    assert fid(statistics(x), statistics(y)) == pytest.approx(plain, rel=1e-12)
    assert fid(statistics(x), y.rows) == pytest.approx(plain, rel=1e-12)


def test_the_fast_way_equals_singular_values(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = random(30, 20).numpy(), random(40, 20, 1).numpy()
    exact = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    assert nuclear_norm(a, b) == pytest.approx(exact, rel=1e-13)
    monkeypatch.setattr(gaussian_roots, "_EXACT", 4)
    square = a[:20]
    assert nuclear_norm(square, b[:20]) == pytest.approx(
        np.linalg.svd(square @ b[:20].T, compute_uv=False).sum(), rel=1e-10
    )
    assert nuclear_norm(a, b) == pytest.approx(exact, rel=1e-13)  # no full rank: it must not take the fast way
    graded = square * np.logspace(0, -9, 20)
    assert nuclear_norm(graded, graded) == pytest.approx(np.square(graded).sum(), rel=1e-10)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.cat([random(50, 4), random(50, 4)], 1)  # rank 4 of 8: takes the QR way
    for x in (random(50, 8), flat):
        whole = root_of_rows(x)
        monkeypatch.setattr(gaussian_roots, "_CHUNK", 7)
        parts = root_of_rows(x)
        monkeypatch.undo()
        for one in (whole, parts):
            np.testing.assert_allclose(one.rows.T @ one.rows, torch.cov(x.T).numpy(), atol=1e-13)


def test_matrices_that_are_no_covariance() -> None:
    with pytest.raises(BadInput, match="not symmetric"):
        root_of_covariance(np.zeros(2), np.array([[1.0, 2.0], [0.0, 1.0]]))
    with pytest.raises(BadInput, match="negative eigenvalue"):
        root_of_covariance(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert root_of_covariance(np.zeros(2), np.zeros((2, 2))).trace == 0


def test_the_score() -> None:
    made = {"net": "judge", "sha": "01234567"}
    real, fake = FeatureSet(random(40, 6), made=made), FeatureSet(random(30, 6, 1), made=made)
    score = Fid().measure(real, fake)["fid"]
    assert str(score.protocol) == "fid[net=judge,sha=01234567,n=30,ref=40]"
    assert score.interval is None
    assert not score.notes
    few = Fid().measure(real, FeatureSet(fake.rows[:11], made=made))["fid"]
    assert few.notes == ("FID of 11 pictures with 6 features is far too high; take 12 or more.",)


def test_published_statistics_as_reference() -> None:
    fake = FeatureSet(random(30, 6, 1), made={"net": "judge"})
    reference = Statistics(np.zeros(6), np.eye(6))
    score = Fid(draws=4).measure(reference, fake)["fid"]
    assert str(score.protocol) == "fid[net=judge,n=30,ref=unknown]"
    assert score.interval
    with pytest.raises(BadInput, match="net=inception"):
        Fid().measure(Statistics(np.zeros(6), np.eye(6), made={"net": "inception"}), fake)
    with pytest.raises(BadInput, match="have 5 numbers a picture, the generated ones 6"):
        Fid().measure(Statistics(np.zeros(5), np.eye(5)), fake)


def test_the_interval_holds_the_spread_of_new_pictures() -> None:
    """The bootstrap's width against that of really new draws."""
    values = [fid(random(150, 4, 2 * i), random(150, 4, 2 * i + 1) + 0.5) for i in range(60)]
    real_width = 2 * 1.96 * float(np.std(values))
    score = Fid(draws=60).measure(FeatureSet(random(150, 4)), FeatureSet(random(150, 4, 1) + 0.5))["fid"]
    assert score.interval
    low, high = score.interval
    assert low < score.value < high
    assert 0.6 < (high - low) / real_width < 1.7
