"""CMMD against the two published programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from goldens import Golden

from lienzo.metrics.cmmd import Cmmd
from lienzo.metrics.features import FeatureSet

TOLERANCES = {"sayakpaul_f64": 1e-9, "google_research_np_f64": 1e-9, "sayakpaul_f32": 1e-3}


@pytest.mark.golden("cmmd*.safetensors")
def test_cmmd(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, y = (FeatureSet(golden.tensors[name]) for name in "xy")
    for name, tolerance in TOLERANCES.items():
        if name in golden.config["expected"]:
            expected = golden.config["expected"][name]
            assert Cmmd().measure(x, y)["cmmd"].value == pytest.approx(expected, rel=tolerance), name
    assert abs(Cmmd().measure(x, x)["cmmd"].value) < 1e-9
