"""Precision, recall, density and coverage against prdc (rim outside) and torch-fidelity (rim inside)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden

from lienzo.metrics.features import FeatureSet
from lienzo.metrics.precision_recall import PrecisionRecall
from lienzo.metrics.products import centre, walk


@pytest.mark.golden("prdc*.safetensors")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_prdc(golden_path: Path, dtype: torch.dtype) -> None:
    golden = Golden(golden_path)
    for case, by_k in golden.config["expected"].items():
        real, fake = (FeatureSet(golden.tensors[f"{case}.{name}"]) for name in ("real", "fake"))
        sides = centre(real.rows, fake.rows, dtype)
        for name, expected in by_k.items():
            k = int(name.removeprefix("k"))
            for source, values in expected.items():
                rim = source != "prdc"
                passed = PrecisionRecall(k=k, rim=rim, density_k=k, density_rim=rim).start(real, fake, sides)
                walk(sides, [passed])
                scores = passed.scores()
                for score, value in values.items():
                    # torch-fidelity gives float32; a fraction of at most a million pictures is exact within 1e-7
                    assert scores[score].value == pytest.approx(value, abs=1e-7 if rim else 1e-12), (case, k, source)
