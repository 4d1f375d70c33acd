"""FID-infinity takes the bias off."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import fid, statistics
from lienzo.metrics.fid_infinity import FidInfinity


def test_it_is_nearer_to_the_truth_than_fid() -> None:
    """Equal Gaussians, the real one known well: the truth is 0, FID of 400 pictures is far above."""
    generator = torch.Generator().manual_seed(0)
    real = statistics(FeatureSet(torch.randn(20_000, 16, generator=generator)))
    fakes = [FeatureSet(torch.randn(400, 16, generator=generator)) for _ in range(8)]
    plain = sum(fid(real, fake.rows) for fake in fakes) / 8
    limits = [FidInfinity(points=8, smallest=100).measure(real, fake)["fid_infinity"].value for fake in fakes]
    assert plain > 0.15
    assert abs(sum(limits) / 8) < plain / 4


def test_it_repeats_and_says_its_settings() -> None:
    generator = torch.Generator().manual_seed(0)
    fake, real = (FeatureSet(torch.randn(n, 4, generator=generator)) for n in (400, 20_000))
    score = FidInfinity(points=8, smallest=100).measure(real, fake)["fid_infinity"]
    assert str(score.protocol) == "fid_infinity[points=8,from=100,seed=2020,n=400,ref=20000]"
    assert score == FidInfinity(points=8, smallest=100).measure(real, fake)["fid_infinity"]


@pytest.mark.parametrize("settings", [{"points": 1}, {"smallest": 50}, {"smallest": 1}])
def test_settings_that_do_not_fit(settings: dict[str, int]) -> None:
    features = FeatureSet(torch.randn(50, 3))
    with pytest.raises(BadInput, match="takes 2 or more points from 2 to 50"):
        FidInfinity(**settings).measure(features, features)
