"""Scenes: each thing is drawn as it would be alone, in its own place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import LENGTH, STYLES
from torch import Tensor

from lienzo.core.events import Note, Picture
from lienzo.data.told_scenes import Thing, told_scene
from lienzo.data.told_settings import Setting
from lienzo.diffusion.picture_memory import memorise
from lienzo.tasks.create import Create, run
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.backdrops import backdrop
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.engines.painter import PainterEngine
from lienzo.tasks.engines.scene import Namer, SceneEngine, composed, placed
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

CPU = torch.device("cpu")


def painter() -> PainterEngine:
    engine = engine_for(load_model(resolve("painter")), Create.make(prompt="x"), CPU)
    assert isinstance(engine, PainterEngine)
    return engine


def scene(text: str) -> SceneEngine:
    engine = composed(painter(), Wish(((text, 1.0),)))
    assert isinstance(engine, SceneEngine)
    return engine


def engine_of(text: str) -> SceneEngine:
    """As `scene`, whatever the painter's memory thinks of the words."""
    told = told_scene(text)
    assert told is not None
    return SceneEngine(painter(), told)


def test_only_sentences_of_several_things_are_scenes() -> None:
    alone = painter()
    assert composed(alone, Wish((("a fox", 1.0),))) is alone
    assert composed(alone, Wish((("a fox and a cat", 1.0), ("snow", 0.5)))) is alone
    alone.on_white = False
    assert composed(alone, Wish((("a fox and a cat", 1.0),))) is alone


def test_each_thing_is_denoised_as_it_would_be_alone() -> None:
    engine = scene("a fox left of a car")
    x, sigma = torch.randn(2, *engine.latents.shape), torch.tensor([1.0, 1.0])
    together = engine.denoiser(Wish((("a fox left of a car", 1.0),), style="flat"), 2, 2.0)(x, sigma)
    for i, thing in enumerate(("a fox", "a car")):
        alone = painter().denoiser(Wish(((thing, 1.0),), style="flat"), 2, 2.0)(x[:, i], sigma)
        assert torch.allclose(together[:, i], alone, atol=1e-6)


def test_all_things_of_a_picture_are_in_one_style() -> None:
    engine = scene("a fox left of a car")
    wish = Wish((("a fox left of a car", 1.0),), seeds=tuple(range(12)))
    x, sigma = torch.randn(12, *engine.latents.shape), torch.ones(12)
    together = engine.denoiser(wish, 12, 1.0)(x, sigma)
    found = []
    for i, thing in enumerate(("a fox", "a car")):
        alone = [painter().denoiser(Wish(((thing, 1.0),), style, seeds=wish.seeds), 12, 1.0)(x[:, i], sigma)
                 for style in STYLES]  # fmt: skip
        found.append(torch.stack([(own - together[:, i]).abs().amax(1) for own in alone]).argmin(0).tolist())
    assert found[0] == found[1]


def test_the_recipe_says_what_the_things_are_painted_from() -> None:
    given = Create.make(prompt="a fox left of a car", size=16, steps=1, upscaler="none", seed=4, style="flat")
    (picture,) = (event for event in run(given) if isinstance(event, Picture))
    assert picture.recipe is not None
    alone = [painter().remembered(Wish(((thing, 1.0),), "flat", seeds=(4,))) for thing in ("a fox", "a car")]
    assert picture.recipe["remembered"] == alone[0] + alone[1]


def blocks(*colours: tuple[float, float, float]) -> list[Tensor]:
    """Drawings of a square in the middle of white paper, (1, 3, 64, 64) in [-1, 1]."""
    found = []
    for colour in colours:
        sheet = torch.ones(1, 3, 64, 64)
        sheet[:, :, 8:56, 8:56] = torch.tensor(colour).view(3, 1, 1) * 2 - 1
        found.append(sheet)
    return found


def test_things_stand_in_their_places() -> None:
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    picture = (scene("a fox above a car").composed(blocks(red, blue), 2)[0] + 1) / 2
    assert torch.allclose(picture[:, 33, 64], torch.tensor(red), atol=0.02)
    assert torch.allclose(picture[:, 94, 64], torch.tensor(blue), atol=0.02)
    assert torch.allclose(picture[:, 64, 4], torch.ones(3))
    both = placed(blocks(red)[0], (0.24, 0.0, 0.52))
    assert abs(float(picture[1, :64].mean()) - float((both[0, 1, :32].mean() + 1) / 2)) < 0.02


@pytest.mark.parametrize(
    ("text", "larger"), [("a fox above a car", 1), ("four cats", 1), ("five cats", 2), ("a cat on a car", 2)]
)
def test_a_scene_is_larger_where_a_half_would_not_hold_its_things(text: str, larger: int) -> None:
    engine = engine_of(text)
    drawings = blocks(*[(1.0, 0.0, 0.0)] * len(engine.drawn_as))
    assert engine.composed(drawings).shape[-1] == larger * 64


def test_finished_scenes_and_looks_at_them() -> None:
    text = "a fox above a car"
    engine, wish = scene(text), Wish(((text, 1.0),), style="flat")
    x = torch.randn(2, *engine.latents.shape, generator=torch.Generator().manual_seed(0))
    finished = engine.latents.finish(x, wish)
    assert finished.shape == (2, 3, *painter().latents.finish(x[:, 0], wish).shape[-2:])
    assert engine.latents.decode(x).shape == (2, 3, engine.size, engine.size)


def test_what_is_told_by_one_word_is_drawn_once_and_posed_anew() -> None:
    text = "three cats and a fox"
    engine, wish = engine_of(text), Wish(((text, 1.0),), style="flat", seeds=(3,))
    assert engine.latents.shape[0] == 2
    x = torch.randn(1, *engine.latents.shape, generator=torch.Generator().manual_seed(0))
    first, second, third, fox = engine.drawings(x, wish)
    assert not torch.allclose(first, second)
    assert not torch.allclose(second, third)
    again = engine.drawings(x, replace(wish, upright=True))
    assert torch.equal(again[0], again[1])
    assert not torch.allclose(again[0], again[3])
    assert torch.equal(fox, engine.drawings(x, wish)[3])


def test_things_that_touch_stand_straight() -> None:
    for text, straight in (("a fox on a car", True), ("a fox left of a car", False)):
        engine, wish = engine_of(text), Wish(((text, 1.0),), style="flat", seeds=(3,))
        x = torch.randn(1, *engine.latents.shape, generator=torch.Generator().manual_seed(0))
        same = torch.equal(engine.drawings(x, wish)[0], engine.drawings(x, replace(wish, upright=True))[0])
        assert same == straight


def test_one_thing_before_a_backdrop() -> None:
    engine = scene("a fox in the snow")
    picture = (engine.composed(blocks((1.0, 0.0, 0.0)))[0] + 1) / 2
    assert torch.allclose(picture[:, :8], backdrop(Setting("snow"), 128)[:, :8], atol=1e-5)
    assert torch.allclose(picture[:, 80, 64], torch.tensor((1.0, 0.0, 0.0)), atol=0.02)
    assert torch.allclose(picture[:, 122:], backdrop(Setting("snow"), 128)[:, 122:], atol=1e-5)


def test_things_are_named_as_the_memory_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cat", "dog face", "dog", "top hat", "hat", "glasses"]
    vectors = dict(zip([*names, "sombrero"], [*torch.eye(6), torch.eye(6)[4]], strict=True))
    own = painter()
    memory = memorise(torch.randn(6, LENGTH), torch.zeros(6), torch.arange(6), names, torch.eye(6))
    monkeypatch.setattr(own.model, "memory", memory)
    monkeypatch.setattr(
        own, "read", lambda texts: torch.stack([vectors.get(text, torch.ones(6) / 6) for text in texts])
    )

    def told(text: str) -> list[str]:
        engine = composed(own, Wish(((text, 1.0),)))
        assert isinstance(engine, SceneEngine), text
        return engine.things

    assert told("three cats") == ["cat"]
    assert told("a dog wearing a hat") == ["dog face", "top hat"]
    assert told("a red dog wearing glasses") == ["red dog face", "glasses"]
    assert told("un dog con sombrero") == ["dog face", "top hat"]
    assert told("a dog on a cat") == ["a dog", "a cat"]
    assert composed(own, Wish((("a dog with a temper", 1.0),))) is own


@pytest.mark.parametrize("compose", [True, False])
def test_create_says_that_it_composes(tmp_path: Path, compose: bool) -> None:
    out = tmp_path / "a.png"
    events = list(run(Create.make(prompt="a fox and a cat", out=out, compose=compose, upscaler="none", size=64)))
    said = any(isinstance(event, Note) and "scene of 2 things" in event.text for event in events)
    assert said == compose
    assert any(isinstance(event, Picture) for event in events)


def test_of_counted_things_one_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of "two cats" each is a cat, though a drawing of cats is remembered too."""
    engine = painter()
    memory = engine.model.memory
    assert memory is not None
    monkeypatch.setattr(memory, "names", ["cats", "cat", *memory.names[2:]])
    assert Namer(engine).known_as(Thing("cats", True)) == "cat"
    assert Namer(engine).known_as(Thing("cats", False)) == "cats"
