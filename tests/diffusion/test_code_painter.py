"""The code painter: conditions matter, the null sentence is one, and it saves and loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.diffusion.code_painter import CodePainter, detect, fourier, load
from lienzo.diffusion.denoiser import FlowDenoiser
from lienzo.weights.models import Card, load_model, save_model

CONFIG = {"length": 12, "width": 16, "hidden": 24, "blocks": 2, "rank": 4, "condition": 24, "text_dim": 10,
          "styles": ["flat", "blob"]}  # fmt: skip


@pytest.fixture
def model() -> CodePainter:
    torch.manual_seed(0)
    model = CodePainter(**CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


@pytest.fixture
def given() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"x": torch.randn(3, 12), "t": torch.tensor([0.1, 0.5, 1.0]), "text": torch.randn(3, 10),
            "style": torch.tensor([0, 1, 2])}  # fmt: skip


def test_every_condition_matters(model: CodePainter, given: dict[str, Tensor]) -> None:
    out = model(**given)
    assert out.shape == (3, 12)
    changed = {"x": given["x"] + 0.1, "t": given["t"] * 0.5, "text": -given["text"], "style": 2 - given["style"]}
    for name, value in changed.items():
        other = model(**{**given, name: value})
        rows = [0, 2] if name == "style" else [0, 1, 2]
        assert (other - out)[rows].abs().amax(1).min() > 1e-4, name


def test_each_row_is_on_its_own(model: CodePainter, given: dict[str, Tensor]) -> None:
    alone = torch.cat([model(**{k: v[i : i + 1] for k, v in given.items()}) for i in range(3)])
    assert torch.allclose(alone, model(**given), atol=1e-6)


def test_keep_puts_the_null_sentence_in_place(model: CodePainter, given: dict[str, Tensor]) -> None:
    out = model(**given)
    assert torch.equal(model(**given, keep=torch.tensor([True] * 3)), out)
    mixed = model(**given, keep=torch.tensor([True, False, False]))
    assert torch.equal(mixed[0], out[0])
    assert (mixed[1:] - out[1:]).abs().amax(1).min() > 1e-4
    other = {**given, "text": torch.randn(3, 10)}
    assert torch.equal(model(**other, keep=torch.zeros(3).bool()), model(**given, keep=torch.zeros(3).bool()))


def test_blocks_begin_as_the_identity(given: dict[str, Tensor]) -> None:
    fresh = CodePainter(**CONFIG)
    expected = fresh.leave(fresh.norm(fresh.enter(given["x"])))
    assert torch.allclose(fresh(**given), expected)


def test_no_style_is_the_last_index(model: CodePainter) -> None:
    assert model.no_style == 2
    assert CodePainter(**{**CONFIG, "styles": []}).no_style == 0


def test_times_are_told_apart() -> None:
    t = torch.linspace(0, 1, 50)
    marks = fourier(t, 64)
    assert marks.shape == (50, 64)
    assert marks.abs().max() <= 1
    distance = torch.cdist(marks, marks) + 9 * torch.eye(50)
    assert distance.min() > 0.05


def test_as_a_denoiser_it_predicts_the_clean_code(model: CodePainter, given: dict[str, Tensor]) -> None:
    """x0 + sigma * noise at sigma = t / (1 - t) is the flow's (1 - t) x0 + t noise, scaled."""
    t = torch.tensor([0.1, 0.5, 0.9])
    sigma = t / (1 - t)
    wrapped = FlowDenoiser(model, prediction="x0")
    rest = {"text": given["text"], "style": given["style"]}
    out = wrapped(given["x"] / (1 - t[:, None]), sigma, **rest)
    assert torch.allclose(out, model(given["x"], t, **rest), atol=1e-5)


def test_saved_and_loaded(model: CodePainter, given: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "painter.safetensors"
    save_model(path, "code-painter", model.config, model.state_dict(), Card(title="t", licence="CC0-1.0"), half=True)
    loaded = load_model(path)
    assert loaded.config == model.config == CONFIG
    assert torch.allclose(loaded(**given), model(**given), atol=2e-2)
    state = model.state_dict()
    assert detect(state)
    with pytest.raises(BadWeights, match="a code painter"):
        load({**state, "extra": torch.zeros(1)}, CONFIG)
    with pytest.raises(BadWeights, match="has shape"):
        load(state, {**CONFIG, "styles": ["flat"]})
