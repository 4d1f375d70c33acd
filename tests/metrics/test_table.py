"""Every metric of the table keeps the same promises, alone and together with others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lienzo.core.errors import BadInput
from lienzo.metrics import table
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import Statistics
from lienzo.metrics.protocol import Protocol
from lienzo.metrics.table import METRICS, measure

MADE = {"net": "judge", "sha": "01234567", "resize": "square-bicubic"}


def features(n: int, seed: int, shift: float = 0.0) -> FeatureSet:
    generator = torch.Generator().manual_seed(seed)
    rows = F.normalize(torch.randn(n, 6, generator=generator) + shift, dim=1)
    return FeatureSet(rows, 3 * torch.randn(n, 5, generator=generator), MADE)


@pytest.mark.parametrize("name", list(METRICS))
def test_each_metric(name: str) -> None:
    metric = METRICS.load(name)()
    assert metric.needs in ("features", "logits", "clip")
    real, fake = features(60, 0), features(50, 1, 0.5)
    before = fake.rows.clone(), real.rows.clone()
    scores = metric.measure(real, fake)
    assert torch.equal(before[0], fake.rows)
    assert torch.equal(before[1], real.rows)
    assert scores == metric.measure(real, fake)
    for key, score in scores.items():
        assert score.name == key == score.protocol.name
        assert np.isfinite(score.value)
        assert Protocol.parse(str(score.protocol)) == score.protocol
        assert str(score.protocol).startswith(f"{key}[net=judge,sha=01234567,resize=square-bicubic,")
        assert score.protocol["n"] == "50"
    if metric.needs != "logits":
        other = FeatureSet(real.rows, real.logits, MADE | {"resize": "tf"})
        with pytest.raises(BadInput, match="resize=tf"):
            metric.measure(other, fake)


def test_together_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = features(60, 0), features(50, 1, 0.5)
    alone = {}
    for name in METRICS:
        alone |= METRICS.load(name)().measure(real, fake)
    walks = []
    walk = table.walk
    monkeypatch.setattr(table, "walk", lambda sides, readers: walks.append(len(readers)) or walk(sides, readers))
    together = measure(list(METRICS), real, fake)
    assert together == alone
    assert list(together) == list(alone)
    assert walks == [3]


def test_statistics_serve_fid_only() -> None:
    reference, fake = Statistics(np.zeros(6), np.eye(6)), features(50, 1)
    assert set(measure(["fid", "fid_infinity"], reference, fake)) == {"fid", "fid_infinity"}
    with pytest.raises(BadInput, match="Kid needs the real features"):
        measure(["fid", "kid"], reference, fake)


def test_wrong_sets_and_names() -> None:
    with pytest.raises(BadInput, match="4 numbers a picture, the generated ones 6"):
        measure(["kid"], FeatureSet(torch.randn(5, 4), made=MADE), features(5, 0))
    with pytest.raises(BadInput, match="did you mean 'fid'"):
        measure(["fidd"], features(5, 0), features(5, 0))
