"""MIND where the answer is known, and with sets of unequal size."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics import mind
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.mind import Mind


def test_a_shift_gives_three_times_its_square() -> None:
    """Along a unit direction u a shift s moves all by u.s, and E (u.s)^2 = |s|^2 / D."""
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([1.0, -2.0, 0.0, 0.5, 0.0, 0.0])
    score = Mind(projections=20_000).measure(FeatureSet(x), FeatureSet(x + shift))["mind"]
    assert score.value == pytest.approx(3 * float(shift.square().sum()), rel=0.03)
    assert str(score.protocol) == "mind[directions=20000,seed=2020,n=50,ref=50]"


def test_order_does_not_matter_and_identical_is_zero() -> None:
    x = torch.randn(40, 5)
    assert Mind().measure(FeatureSet(x), FeatureSet(x[torch.randperm(40)]))["mind"].value == pytest.approx(0, abs=1e-12)


def test_the_larger_set_is_cut_as_torch_fidelity_does() -> None:
    """Generated first, then real, and only the larger draws from the generator before the directions do."""
    generator = torch.Generator().manual_seed(7)
    small, large = torch.randn(30, 4), torch.randn(50, 4)
    kept = large[torch.randperm(50, generator=generator)[:30]]
    u = torch.randn(16, 4, generator=generator)
    u = u / u.norm(dim=1, keepdim=True)
    a, b = ((one.double() @ u.double().T).sort(0).values for one in (small, kept))
    expected = float(3 * 4 * (a - b).square().mean())
    for sets in ((small, large), (large, small)):
        assert Mind(16, 7).measure(*map(FeatureSet, sets))["mind"].value == pytest.approx(expected, rel=1e-9)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = FeatureSet(torch.randn(30, 4)), FeatureSet(torch.randn(30, 4))
    whole = Mind(50, draws=5).measure(*sets)["mind"]
    monkeypatch.setattr(mind, "_BLOCK", 70)
    parts = Mind(50, draws=5).measure(*sets)["mind"]
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    assert parts.interval == pytest.approx(whole.interval, rel=1e-9)


def test_directions_are_needed() -> None:
    x = FeatureSet(torch.randn(5, 2))
    with pytest.raises(BadInput, match="1 or more directions"):
        Mind(0).measure(x, x)
