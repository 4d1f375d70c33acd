"""Scenes: each thing is drawn as it would be alone, in its own place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import STYLES

from lienzo.core.events import Note, Picture
from lienzo.data.told_scenes import told_scene
from lienzo.diffusion.sampling import sample
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.create import Create, run
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.engines.painter import PainterEngine
from lienzo.tasks.engines.scene import SceneEngine, composed, placed
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


def test_things_stand_in_their_places() -> None:
    text = "a fox above a car"
    engine, wish = scene(text), Wish(((text, 1.0),), style="flat")
    noise = PictureNoise([0], CPU)
    sigmas = engine.sigmas(4)
    x = sigmas[0] * noise(torch.zeros(1, *engine.latents.shape))
    for step in sample("euler", engine.denoiser(wish, 1, 2.0), x, sigmas, noise=noise):
        x = step.x
    picture = engine.latents.finish(x, wish)
    told = told_scene(text)
    assert told is not None
    fox = painter().latents.finish(x[:, 0], Wish((("a fox", 1.0),), style="flat"))
    half = picture.shape[2] // 2 - 4
    assert torch.allclose(picture[:, :, :half], placed(fox, told.boxes[0])[:, :, :half].clamp(-1, 1), atol=1e-5)
    assert engine.latents.decode(x).shape == (1, 3, engine.size, engine.size)


@pytest.mark.parametrize("compose", [True, False])
def test_create_says_that_it_composes(tmp_path: Path, compose: bool) -> None:
    out = tmp_path / "a.png"
    events = list(run(Create.make(prompt="a fox and a cat", out=out, compose=compose, upscaler="none", size=64)))
    said = any(isinstance(event, Note) and "scene of 2 things" in event.text for event in events)
    assert said == compose
    assert any(isinstance(event, Picture) for event in events)
