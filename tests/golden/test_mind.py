"""MIND against torch-fidelity."""

from __future__ import annotations

from pathlib import Path

import pytest
from goldens import Golden

from lienzo.metrics.features import FeatureSet
from lienzo.metrics.mind import Mind


@pytest.mark.golden("mind*.safetensors")
def test_mind(golden_path: Path) -> None:
    golden = Golden(golden_path)
    metric = Mind(projections=golden.config["num_projections"], seed=golden.config["rng_seed"])
    fake, real = (FeatureSet(golden.tensors[name]) for name in "xy")
    expected = golden.config["expected"]["monge_inception_distance"]
    assert metric.measure(real, fake)["mind"].value == pytest.approx(expected, rel=1e-5)
