"""The probe: equal to scikit-learn's own answers, also for two classes, and safe to read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lienzo.clip import linear_probe
from lienzo.clip.linear_probe import KEY, Probe, best_c, fit_probe, read_probe, save_probe
from lienzo.core.errors import BadInput, BadWeights
from lienzo.weights.writing import write_tensors

sklearn = pytest.importorskip("sklearn.linear_model")


def clouds(classes: int, count: int = 30, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = np.arange(classes).repeat(count)
    vectors = np.eye(8)[target] + spread * rng.normal(size=(len(target), 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), target


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_the_library(classes: int) -> None:
    vectors, target = clouds(classes)
    probe = fit_probe(vectors, target, [f"c{i}" for i in range(classes)], c=2.0)
    own = sklearn.LogisticRegression(C=2.0, max_iter=1000).fit(vectors.astype(np.float64), target)
    expected = torch.from_numpy(own.predict_proba(vectors)).float()
    assert torch.allclose(probe.logits(vectors).softmax(-1), expected, atol=1e-4)


def test_a_class_without_pictures_never_wins() -> None:
    vectors, target = clouds(2)
    probe = fit_probe(vectors, target * 2, ["a", "nothing", "b"])
    assert set(probe.logits(vectors).argmax(1).tolist()) == {0, 2}
    assert probe.logits(vectors).softmax(-1)[:, 1].max() == 0


def test_the_sweep_prefers_what_holds_on_other_pictures() -> None:
    vectors, target = clouds(4, spread=1.5)
    c, accuracy = best_c(vectors, target)
    assert accuracy[c] == max(accuracy.values())
    assert c == min(each for each, share in accuracy.items() if share == accuracy[c])
    with pytest.raises(BadInput, match="at least two pictures each"):
        best_c(vectors[:3], np.array([0, 0, 1]))


def test_one_class_or_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, target = clouds(2)
    with pytest.raises(BadInput, match="at least two classes"):
        fit_probe(vectors, target * 0, ["a", "b"])
    monkeypatch.setattr(linear_probe, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"needs scikit-learn: pip install 'lienzo\[probe\]'"):
        fit_probe(vectors, target, ["a", "b"])


def test_a_probe_comes_back(tmp_path: Path) -> None:
    probe = Probe(torch.randn(2, 8), torch.randn(2), ("naïve, \n", "猫"), "judge", "abc:32", 0.5)
    save_probe(tmp_path / "p.safetensors", probe)
    found = read_probe(tmp_path / "p.safetensors")
    assert (found.labels, found.clip, found.tag, found.c) == (probe.labels, probe.clip, probe.tag, probe.c)
    assert torch.equal(found.weight, probe.weight)
    assert torch.equal(found.bias, probe.bias)


GOOD = {"version": 1, "labels": ["a", "b"], "clip": "judge", "tag": "t", "c": 1.0}


@pytest.mark.parametrize(
    ("facts", "rows", "words"),
    [
        (None, 2, "is no probe"),
        ("{", 2, "is broken"),
        (json.dumps(GOOD | {"labels": ["a"]}), 2, "is broken"),
        (json.dumps(GOOD | {"labels": [1, 2]}), 2, "is broken"),
        (json.dumps([1]), 2, "is broken"),
        (json.dumps(GOOD), 3, "is broken"),
        (json.dumps(GOOD | {"version": 2}), 2, "another version"),
    ],
)
def test_hostile_probes_are_refused(tmp_path: Path, facts: str | None, rows: int, words: str) -> None:
    path = tmp_path / "p.safetensors"
    write_tensors(
        path, {"weight": torch.zeros(rows, 4), "bias": torch.zeros(rows)}, {} if facts is None else {KEY: facts}
    )
    with pytest.raises(BadWeights, match=words):
        read_probe(path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    tensors = {"weight": torch.full((2, 4), float("nan")), "bias": torch.zeros(2)}
    write_tensors(path, tensors, {KEY: json.dumps(GOOD)})
    with pytest.raises(BadWeights, match="not finite"):
        read_probe(path)
