"""Inception score at its ends, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.inception_score import InceptionScore


def test_sure_and_varied_gives_the_number_of_classes() -> None:
    logits = 50 * torch.eye(8).repeat(10, 1)
    score = InceptionScore(splits=1).measure(None, FeatureSet(logits, logits))["inception_score"]
    assert score.value == pytest.approx(8, rel=1e-9)
    assert str(score.protocol) == "inception_score[splits=1,shuffle=2020,n=80]"


def test_all_alike_gives_one() -> None:
    logits = torch.randn(1, 8).repeat(40, 1)
    scores = InceptionScore(splits=4, shuffle=False).measure(None, FeatureSet(logits, logits))
    assert scores["inception_score"].value == pytest.approx(1, rel=1e-9)
    assert scores["inception_score_std"].value == pytest.approx(0, abs=1e-9)


def test_the_interval_is_around_the_value() -> None:
    logits = 3 * torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    score = InceptionScore().measure(None, FeatureSet(logits, logits))["inception_score"]
    low, high = score.interval or (1.0, 0.0)
    assert low < score.value < high
    assert InceptionScore(draws=0).measure(None, FeatureSet(logits, logits))["inception_score"].interval is None


def test_what_it_needs() -> None:
    with pytest.raises(BadInput, match="gives none"):
        InceptionScore().measure(None, FeatureSet(torch.randn(20, 3)))
    with pytest.raises(BadInput, match="1 to 5 splits of 5 pictures, not 10"):
        InceptionScore().measure(None, FeatureSet(torch.randn(5, 3), torch.randn(5, 3)))
