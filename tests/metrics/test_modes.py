from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.modes import Modes, divergence

CLASSES, EACH, DIM = 4, 30, 8


def clouds(counts: list[int], seed: int = 0, spread: float = 0.3) -> tuple[FeatureSet, np.ndarray]:
    """Points around one centre a class, far apart."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = 5 * np.eye(len(counts), DIM)[labels] + spread * rng.normal(size=(len(labels), DIM))
    return FeatureSet(torch.from_numpy(rows), None, {"net": "test"}), labels


def test_one_class_of_equal_ones_is_one_hit_and_log_c():
    fitted = Modes().fit(*clouds([EACH] * CLASSES))
    fake, _ = clouds([40, 0, 0, 0], seed=1)
    scores = fitted.measure(fake)
    assert scores["modes_hit"].value == 1
    assert scores["label_kl"].value == pytest.approx(math.log(CLASSES), abs=1e-12)


def test_equal_shares_hit_all_and_diverge_by_nothing():
    fitted = Modes().fit(*clouds([EACH] * CLASSES))
    scores = fitted.measure(clouds([20] * CLASSES, seed=2)[0])
    assert scores["modes_hit"].value == CLASSES
    assert scores["label_kl"].value == pytest.approx(0, abs=1e-12)
    low, high = scores["label_kl"].interval
    assert low == 0 < high


def test_only_the_missing_class_is_missed():
    fitted = Modes().fit(*clouds([EACH] * CLASSES))
    scores = fitted.measure(clouds([20, 0, 20, 20], seed=3)[0])
    assert scores["modes_hit"].value == 3
    assert scores["label_kl"].value == pytest.approx(math.log(4 / 3), abs=1e-12)


def test_divergence_is_the_formula_with_the_stated_smoothing():
    fake, real = torch.tensor([6.0, 2.0, 0.0]).double(), torch.tensor([3.0, 0.0, 5.0]).double()
    q = (np.array([3, 0, 5]) + 0.5) / (8 + 1.5)
    expected = 0.75 * math.log(0.75 / q[0]) + 0.25 * math.log(0.25 / q[1])
    assert divergence(fake, real, 0.5) == pytest.approx(expected, rel=1e-12)


def test_accuracy_is_of_withheld_pictures_only():
    """Labels by chance cannot be told for pictures not learned from, though they can be learned by heart."""
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=(120, 100)))
    fitted = Modes(shrink=0.01).fit(FeatureSet(rows), rng.integers(0, 4, 120))
    assert 0.1 < fitted.accuracy < 0.42
    assert Modes().fit(*clouds([EACH] * CLASSES)).accuracy == 1


def test_mistakes_are_alike_on_both_sides():
    """Overlapping classes: one more draw of the real pictures scores what the note says real pictures score."""
    real, labels = clouds([200, 100, 50], spread=3.0)
    fitted = Modes().fit(real, labels)
    assert fitted.accuracy < 0.9
    score = fitted.measure(clouds([200, 100, 50], seed=9, spread=3.0)[0])["label_kl"]
    assert score.value < 0.03


def test_protocol_tells_the_classifier_and_the_smoothing():
    score = Modes().fit(*clouds([EACH] * CLASSES)).measure(clouds([20] * CLASSES, seed=2)[0])["label_kl"]
    assert str(score.protocol) == (
        "label_kl[net=test,reader=lda,shrink=0.2,folds=5,classes=4,acc=1.00,n=80,ref=120,smooth=0.5]"
    )
    assert "right on 100%" in Modes().fit(*clouds([EACH] * 4)).measure(clouds([9] * 4)[0])["modes_hit"].notes[0]


def test_classes_with_too_few_pictures_are_not_counted():
    real, labels = clouds([EACH, EACH, 4])
    fitted = Modes().fit(real, labels)
    assert fitted.classes == (0, 1)
    assert len(fitted.read_real) == 2 * EACH


def test_one_class_or_wrong_labels_are_refused():
    real, labels = clouds([EACH, 4])
    with pytest.raises(BadInput, match=r"2 or more classes .* there is 1"):
        Modes().fit(real, labels)
    with pytest.raises(BadInput, match="34 real pictures but labels"):
        Modes().fit(real, labels[:-1])
    fitted = Modes().fit(*clouds([EACH] * 4))
    with pytest.raises(BadInput, match="net"):
        fitted.measure(FeatureSet(torch.zeros(4, DIM), None, {"net": "other"}))
