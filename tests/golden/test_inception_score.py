"""Inception score against torch-fidelity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from goldens import Golden

from lienzo.metrics.features import FeatureSet
from lienzo.metrics.inception_score import InceptionScore


@pytest.mark.golden("inception_score*.safetensors")
def test_inception_score(golden_path: Path) -> None:
    golden = Golden(golden_path)
    logits = golden.tensors["logits"]
    (seed,) = (int(key.removeprefix("perm_seed")) for key in golden.tensors if key.startswith("perm_seed"))
    for name, expected in golden.config["expected"].items():
        match = re.fullmatch(r"splits(\d+)_shuffle(True|False)", name)
        assert match, name
        metric = InceptionScore(splits=int(match[1]), shuffle=match[2] == "True", seed=seed)
        scores = metric.measure(None, FeatureSet(logits, logits))
        for ours, theirs in (("inception_score", "mean"), ("inception_score_std", "std")):
            value = expected[f"inception_score_{theirs}"]
            assert scores[ours].value == pytest.approx(value, rel=1e-9, abs=1e-12), (name, ours)
