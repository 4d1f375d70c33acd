"""The memory: what comes to mind, how well it is kept, and how a painter takes it in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.diffusion.code_painter import CodePainter, widen
from lienzo.diffusion.picture_memory import PictureMemory, Recalled, memorise
from lienzo.weights.models import Card, load_model, save_model

NAMES = ["fox", "cat", "car"]
CONFIG = {"length": 12, "width": 16, "hidden": 24, "blocks": 2, "rank": 4, "condition": 24, "text_dim": 8,
          "styles": ["flat", "blob"], "colours": ["red", "blue"]}  # fmt: skip


def keys() -> Tensor:
    return F.normalize(torch.eye(3, 8) + 0.05 * torch.randn(3, 8, generator=torch.Generator().manual_seed(2)), dim=-1)


@pytest.fixture
def memory() -> PictureMemory:
    """A fox and a cat in both styles, and a flat car."""
    codes = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    return memorise(codes, torch.tensor([0, 1, 0, 1, 0]), torch.tensor([0, 0, 1, 1, 2]), NAMES, keys())


def painter(memory: PictureMemory) -> CodePainter:
    torch.manual_seed(0)
    model = CodePainter(**CONFIG, memory=memory.config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    assert model.memory is not None
    model.memory.load_state_dict(memory.state_dict())
    return model.eval().requires_grad_(False)


def test_codes_are_kept_to_half_a_step(memory: PictureMemory) -> None:
    codes = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    assert ((memory.read(torch.arange(5)) - codes).abs() <= memory.step / 2 + 1e-6).all()


def test_the_likest_in_the_wanted_style_comes_first(memory: PictureMemory) -> None:
    fox, cat, _ = keys()
    recalled = memory.recall(torch.stack([fox, fox, 3 * cat]), torch.tensor([0, 1, 1]))
    assert recalled.rows[:, 0].tolist() == [0, 1, 3]
    assert recalled.rows[:, 1].tolist() == [1, 0, 2]  # the name counts more than the style
    assert recalled.likeness[:, 0].tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    assert recalled.style[0].tolist()[:2] == [0, 1]
    assert torch.equal(recalled.codes, memory.read(recalled.rows))


def test_a_picture_can_be_left_out(memory: PictureMemory) -> None:
    fox = keys()[:1].expand(2, -1)
    recalled = memory.recall(fox, torch.tensor([0, 0]), without=torch.tensor([0, -1]))
    assert 0 not in recalled.rows[0].tolist()
    assert recalled.rows[1, 0] == 0


def test_luck_decides_among_equals_alone(memory: PictureMemory) -> None:
    fox, none = keys()[:1], torch.tensor([9])
    for lucky, other in ((0, 1), (1, 0)):
        luck = torch.zeros(1, 5)
        luck[0, lucky], luck[0, 4] = 1.0, 1.0
        assert memory.recall(fox, none, luck=luck).rows[0, :2].tolist() == [lucky, other]


def test_in_which_styles_a_thing_is_remembered(memory: PictureMemory) -> None:
    suits = memory.suits(keys()[2:], 3)
    assert suits[0, 0] == pytest.approx(1, abs=1e-3)
    assert suits[0, 1] < 0.5
    assert suits[0, 2] == -1


def test_a_painter_recalls_by_itself(memory: PictureMemory) -> None:
    model = painter(memory)
    given = {"x": torch.randn(2, 12), "t": torch.tensor([0.2, 0.9]), "text": keys()[:2], "style": torch.tensor([0, 1])}
    assert model.memory is not None
    recalled = model.memory.recall(given["text"], given["style"])
    out = model(**given)
    assert torch.equal(model(**given, recalled=recalled), out)
    for changed in (
        Recalled(recalled.rows, recalled.codes + 0.1, recalled.style, recalled.likeness),
        Recalled(recalled.rows, recalled.codes, 1 - recalled.style, recalled.likeness),
        Recalled(recalled.rows, recalled.codes, recalled.style, recalled.likeness - 0.2),
    ):
        assert (model(**given, recalled=changed) - out).abs().amax(1).min() > 1e-4
    assert torch.equal(model(**given, colour=torch.tensor([2, 2])), out)
    assert not torch.allclose(model(**given, colour=torch.tensor([0, 1])), out, atol=1e-4)


def test_without_a_sentence_nothing_comes_to_mind(memory: PictureMemory) -> None:
    model, keep = painter(memory), torch.zeros(2, dtype=torch.bool)
    x, t, style = torch.randn(2, 12), torch.tensor([0.2, 0.9]), torch.tensor([0, 1])
    one = model(x, t, text=keys()[:2], style=style, keep=keep, colour=torch.tensor([0, 1]))
    assert torch.equal(one, model(x, t, text=keys()[1:], style=style, keep=keep))


def test_a_wider_painter_draws_the_same(memory: PictureMemory) -> None:
    model = painter(memory)
    wider = widen(model, 4, ["hokusai"])
    x, t = torch.randn(2, 12), torch.tensor([0.2, 0.9])
    told = {"text": keys()[:2], "colour": torch.tensor([0, 2])}
    out = wider(F.pad(x, (0, 4)), t, style=torch.tensor([1, 3]), **told)
    assert torch.allclose(out[:, :12], model(x, t, style=torch.tensor([1, 2]), **told), atol=1e-5)
    assert out[:, 12:].abs().max() == 0


def test_saved_and_loaded(memory: PictureMemory, tmp_path: Path) -> None:
    model = painter(memory).half()
    model.memory.load_state_dict(memory.state_dict())  # type: ignore[union-attr]
    card = Card(title="p", licence="CC0-1.0")
    save_model(tmp_path / "p.safetensors", "code-painter", model.config, model.state_dict(), card, half=True)
    again = load_model(tmp_path / "p.safetensors")
    assert isinstance(again, CodePainter)
    assert again.memory is not None
    assert again.memory.names == NAMES
    assert torch.equal(again.memory.codes, memory.codes)
    given = {"x": torch.randn(1, 12), "t": torch.ones(1), "text": keys()[:1], "style": torch.tensor([0])}
    assert torch.allclose(again(**given), painter(memory)(**given), atol=2e-2)
