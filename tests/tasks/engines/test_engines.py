"""Engines: which network gets which, and that each denoises towards what it was asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_models import ADM, STYLES, tiny_painter
from torch import nn

from lienzo.core.errors import BadInput
from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.tasks.create import Create
from lienzo.tasks.engines import ENGINES, engine_for
from lienzo.tasks.engines.adm import AdmEngine
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.engines.painter import COLOURED, DEFAULT_STYLE, PainterEngine
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

CPU = torch.device("cpu")
BUNDLED_ADM: dict[str, Any] = {
    "image_size": 64, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": [8], "channel_mult": [1, 2, 3, 4], "num_head_channels": 32,
    "use_scale_shift_norm": True,
}  # fmt: skip


def painter(**options: Any) -> PainterEngine:
    engine = engine_for(load_model(resolve("painter")), Create.make(prompt="x", **options), CPU)
    assert isinstance(engine, PainterEngine)
    return engine


def test_every_engine_of_the_table_exists() -> None:
    assert all(callable(ENGINES.load(name)) for name in ENGINES)


def test_other_networks_do_not_paint() -> None:
    with pytest.raises(BadInput, match="'painter' is a Linear, which does not paint"):
        engine_for(nn.Linear(1, 1), Create.make(prompt="x"), CPU)


@pytest.mark.parametrize("name", ["painter", "adm-64"])
def test_what_an_engine_promises(name: str) -> None:
    engine = engine_for(load_model(resolve(name)), Create.make(prompt="x", model=name), CPU)
    sigmas = engine.sigmas(engine.steps)
    assert len(sigmas) == engine.steps + 1
    assert (sigmas.diff() < 0).all()
    assert sigmas[-1] == 0
    for steps in (1, 1000):
        assert (engine.sigmas(steps).diff() < 0).all()
    x = torch.randn(3, *engine.latents.shape, generator=torch.Generator().manual_seed(0))
    wish = Wish((("fox", 1.0),))
    model = engine.denoiser(wish, 3, 2.0)
    denoised = model(x * sigmas[0], sigmas[:1].expand(3))
    assert denoised.shape == x.shape
    assert denoised.isfinite().all()
    assert engine.latents.decode(denoised).shape == (3, 3, engine.size, engine.size)
    finished = engine.latents.finish(denoised, wish)
    assert finished.shape[:2] == (3, 3)
    assert finished.shape[2] == finished.shape[3] >= engine.size
    assert finished.abs().max() <= 1
    if engine.latents.encode is not None:
        codes = engine.latents.encode(engine.latents.decode(denoised))
        assert torch.allclose(codes, denoised, atol=0.1)


def test_guidance_is_linear_in_its_scale() -> None:
    engine = painter()
    x, sigma = torch.randn(2, *engine.latents.shape), torch.tensor([2.0, 2.0])
    wish = Wish((("fox", 1.0),), style="flat")
    plain, none, twice = (engine.denoiser(wish, 2, scale)(x, sigma) for scale in (1.0, 0.0, 2.0))
    assert torch.allclose(twice, none + 2 * (plain - none), atol=1e-4)
    assert not torch.allclose(plain, none, atol=1e-3)


def test_a_told_colour_leaves_less_to_guidance() -> None:
    engine = painter()
    x, sigma = torch.randn(1, *engine.latents.shape), torch.tensor([0.5])

    def out(text: str, scale: float) -> torch.Tensor:
        return engine.denoiser(Wish(((text, 1.0),), "flat", seeds=(1,)), 1, scale)(x, sigma)

    for text, share in (("blue fox", COLOURED), ("fox", 1.0)):
        once = out(text, 1.0)
        push = once - out(text, 0.0)
        assert torch.allclose(out(text, 3.0), once + 2 * share * push, atol=1e-4)
        assert push.abs().max() > 1e-3


def test_what_is_unwanted_takes_the_place_of_nothing() -> None:
    engine = painter()
    x, sigma = torch.randn(1, *engine.latents.shape), torch.tensor([0.5])  # details: both in the style asked for

    def out(wish: Wish, scale: float) -> torch.Tensor:
        return engine.denoiser(wish, 1, scale)(x, sigma)

    fox, fog = Wish((("fox", 1.0),), "flat"), Wish((("fog", 1.0),), "flat")
    apart = Wish((("fox", 1.0),), "flat", negative="fog")
    weighted = Wish((("fox", 1.0), ("fog", -1.0)), "flat")
    expected = out(fog, 1.0) + 3 * (out(fox, 1.0) - out(fog, 1.0))
    assert torch.allclose(out(apart, 3.0), expected, atol=1e-4)
    assert torch.allclose(out(weighted, 3.0), expected, atol=1e-4)


def test_weights_mix_sentences() -> None:
    engine = painter()
    x, sigma = torch.randn(1, *engine.latents.shape), torch.tensor([2.0])

    def out(*subjects: tuple[str, float]) -> torch.Tensor:
        return engine.denoiser(Wish(subjects, "flat"), 1, 1.0)(x, sigma)

    assert torch.allclose(out(("fox", 1.0), ("cat", 1e-6)), out(("fox", 1.0)), atol=1e-4)
    assert torch.allclose(out(("fox", 2.0), ("cat", 4.0)), out(("fox", 1.0), ("cat", 2.0)), atol=1e-5)
    assert not torch.allclose(out(("fox", 1.0), ("cat", 1.0)), out(("fox", 1.0)), atol=1e-3)


def manner(engine: PainterEngine, *seeds: int, style: str | None = None, text: str = "fox") -> list[int]:
    return engine.manners([Wish(((text, 1.0),), style, seeds=seeds)], len(seeds)).tolist()


def test_styles_of_the_painter() -> None:
    engine = painter()
    assert manner(engine, 1, 2, style="flat") == [STYLES.index("flat")] * 2
    with pytest.raises(BadInput, match="The painter has no style 'retro'; it has flat, line icon, soft shaded"):
        manner(engine, 1, style="retro")


def test_without_a_memory_there_is_a_usual_style() -> None:
    engine = engine_for(tiny_painter(remembers=False), Create.make(prompt="x"), CPU)
    assert isinstance(engine, PainterEngine)
    assert manner(engine, 1, 2) == [STYLES.index(DEFAULT_STYLE)] * 2


def test_a_style_left_open_is_the_seeds() -> None:
    engine = painter()
    found = manner(engine, *range(30))
    assert len(set(found)) > 1
    assert [manner(engine, seed)[0] for seed in range(30)] == found  # alone as in a batch


def test_seeds_bring_other_pictures_to_mind() -> None:
    engine = painter()
    x, sigma = torch.zeros(1, *engine.latents.shape), torch.tensor([2.0])

    def out(seed: int) -> torch.Tensor:
        return engine.denoiser(Wish((("fox", 1.0),), "flat", seeds=(seed,)), 1, 1.0)(x, sigma)

    assert torch.equal(out(1), out(1))
    assert not torch.allclose(out(1), out(2), atol=1e-3)
    both = engine.denoiser(Wish((("fox", 1.0),), "flat", seeds=(1, 2)), 2, 1.0)(x.expand(2, -1), sigma.expand(2))
    assert torch.allclose(both, torch.cat([out(1), out(2)]), atol=1e-5)


def test_it_says_what_it_painted_from() -> None:
    told = painter().remembered(Wish((("fox", 1.0),), "flat", seeds=(1,)))
    assert len(told) == 3
    assert all(name.rpartition(", ")[2] in STYLES for name in told)
    bare = engine_for(tiny_painter(remembers=False), Create.make(prompt="x"), CPU)
    assert isinstance(bare, PainterEngine)
    assert bare.remembered(Wish((("fox", 1.0),), seeds=(1,))) == []


def test_things_are_looked_for_by_the_name_that_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = painter()
    memory = engine.model.memory
    assert memory is not None

    def told(text: str) -> tuple[list[float], int]:
        vector, colour = engine._told(Wish(((text, 1.0),)))
        return vector[0].tolist(), colour

    assert told("a boat") != told("a sailboat")
    monkeypatch.setattr(memory, "names", ["sailboat", "old man", *memory.names[2:]])
    for said in ("a boat", "the little old boat", "маленькая лодка"):
        assert told(said) == told("a sailboat")
    assert told("a pretty red boat") == told("a red sailboat")
    assert told("an old man") != told("a man")
    assert told("an old woman") == told("a woman")


def test_what_is_not_remembered_is_told() -> None:
    engine = painter()
    assert engine.strange(Wish((("a cat", 1.0), ("a qwertyuiop", 0.5), ("a zxcvbnm", -1.0)))) == ["qwertyuiop"]
    bare = engine_for(tiny_painter(remembers=False), Create.make(prompt="x"), CPU)
    assert isinstance(bare, PainterEngine)
    assert bare.strange(Wish((("a qwertyuiop", 1.0),))) == []


def test_each_seed_has_its_pose() -> None:
    engine = painter(refine=False)
    codes = torch.randn(1, *engine.latents.shape)

    def out(**more: Any) -> torch.Tensor:
        return engine.latents.finish(codes, Wish((("fox", 1.0),), "flat", **more))

    straight = engine.latents.decode(codes).clamp(-1, 1)
    assert torch.equal(out(seeds=(1,), upright=True), straight)
    assert torch.equal(out(seeds=(1,)), out(seeds=(1,)))
    assert not torch.allclose(out(seeds=(1,)), out(seeds=(2,)), atol=0.1)
    engine.on_white = False
    assert torch.equal(out(seeds=(1,)), straight), "a painting fills its sheet"
    bare = engine_for(tiny_painter(remembers=False), Create.make(prompt="x", refine=False), CPU)
    plain = bare.latents.finish(codes, Wish((("fox", 1.0),), seeds=(1,)))
    assert torch.equal(plain, bare.latents.decode(codes).clamp(-1, 1)), "without a memory seeds differ by themselves"


def test_shapes_are_drawn_as_they_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large noise is removed in the style in which the thing is remembered, small noise in the one asked for."""
    engine, told = painter(), list[tuple[int, int]]()
    forward = engine.model.forward

    def listening(x: torch.Tensor, t: torch.Tensor, **cond: Any) -> torch.Tensor:
        told.append((int(cond["style"][0]), int(cond["recalled"].style[0, 0])))
        return forward(x, t, **cond)

    monkeypatch.setattr(engine.model, "forward", listening)
    for asked, style in enumerate(STYLES):
        model = engine.denoiser(Wish((("a house of clay", 1.0),), style, seeds=(1,)), 1, 1.0)
        for sigma in (3.0, 0.3):
            model(torch.zeros(1, *engine.latents.shape), torch.tensor([sigma]))
        (shape, remembered), (detail, _) = told[-2:]
        assert (shape, detail) == (remembered, asked)
    assert engine.model.memory is not None
    engine.model.memory.style[engine.model.memory.style == 2] = 0
    model = engine.denoiser(Wish((("a house of clay", 1.0),), STYLES[2], seeds=(1,)), 1, 1.0)
    model(torch.zeros(1, *engine.latents.shape), torch.tensor([3.0]))
    assert told[-1][0] == 2, "a style of which nothing is remembered is drawn from the first"
    assert len({remembered for _, remembered in told}) < len(STYLES), "in some style the thing is not remembered"


def test_a_colour_is_told_apart_from_the_thing() -> None:
    engine = painter()
    x, sigma = torch.zeros(1, *engine.latents.shape), torch.tensor([2.0])

    def out(text: str) -> torch.Tensor:
        return engine.denoiser(Wish(((text, 1.0),), "flat", seeds=(1,)), 1, 1.0)(x, sigma)

    assert not torch.allclose(out("blue fox"), out("purple fox"), atol=1e-4)
    assert torch.allclose(out("blue fox"), out("azul fox"), atol=1e-5)
    assert not torch.allclose(out("blue fox"), out("fox"), atol=1e-4)


def test_a_walk_begins_and_ends_with_its_wishes() -> None:
    engine = painter()
    x, sigma = torch.zeros(1, *engine.latents.shape), torch.tensor([2.0])
    fox, cat = Wish((("red fox", 1.0),), "flat", seeds=(1,)), Wish((("cat", 1.0),), "flat")

    def out(wish: Wish) -> torch.Tensor:
        return engine.denoiser(wish, 1, 1.0)(x, sigma)

    first, last, middle = (out(replace(fox, toward=(cat, share))) for share in (0.0, 1.0, 0.5))
    assert torch.allclose(first, out(fox), atol=1e-4)
    assert torch.allclose(last, out(replace(cat, seeds=(1,))), atol=1e-4)
    assert not torch.allclose(middle, first, atol=1e-3)


def test_refining_can_be_left_out() -> None:
    refined, plain = painter(), painter(refine=False)
    codes = torch.randn(1, *plain.latents.shape)
    assert plain.models == ("code", "sentence")
    assert refined.models == ("code", "sentence", "refiner")
    fox, cat = Wish((("fox", 1.0),), upright=True), Wish((("cat", 1.0),), upright=True)
    rough, finished = plain.latents.finish(codes, fox), refined.latents.finish(codes, fox)
    assert torch.equal(rough, plain.latents.decode(codes).clamp(-1, 1))
    assert not torch.equal(F.interpolate(rough, finished.shape[-2:], mode="bilinear"), finished)
    assert torch.equal(rough, plain.latents.finish(codes, cat))


def test_upsamplers_cannot_start_from_a_sentence() -> None:
    with pytest.raises(BadInput, match="enlarges pictures"):
        AdmEngine(AdmSuperRes(**ADM), CPU)


def by_class(num_classes: int, classes: list[str] | None = None) -> AdmEngine:
    """An engine whose network answers its label, whatever it is shown."""
    engine = AdmEngine(Adm(**ADM, num_classes=num_classes, classes=classes).eval(), CPU)
    engine.network.network = lambda x, t, y: 0.1 * y.view(-1, 1, 1, 1).expand_as(x).float()
    engine.network.prediction = "x0"
    return engine


def drawn(engine: AdmEngine, text: str, guidance: float = 1.0, negative: str = "") -> float:
    wish = Wish(((text, 1.0),), negative=negative)
    out = engine.denoiser(wish, 2, guidance)(torch.zeros(2, 3, 32, 32), torch.ones(2))
    assert out.shape == (2, 3, 32, 32)
    assert torch.allclose(out, out[0, 0, 0, 0])
    return round(out[0, 0, 0, 0].item(), 4)


def test_classes_are_asked_for_by_name_or_number() -> None:
    named, numbered = by_class(3, ["ink", "oil", "2"]), by_class(5)
    assert named.conditional
    assert [drawn(named, text) for text in ("Ink", " oil", "1", "2")] == [0.0, 0.1, 0.1, 0.2]
    assert drawn(numbered, "4") == 0.4
    for engine, text, there in ((named, "3", "ink, oil, 2"), (numbered, "fox", "0, 1, 2, 3, 4"), (named, "-1", "ink")):
        with pytest.raises(BadInput, match=f"knows no '{text}'; it knows {there}"):
            drawn(engine, text)
    for wish in (Wish(()), Wish((("oil", 1.0), ("ink", 0.5))), Wish((("oil", 1.0), ("ink", -1.0)), negative="2")):
        with pytest.raises(BadInput, match="one class a picture"):
            named.denoiser(wish, 1, 1.0)


def test_classes_are_guided_away_from_no_class_or_an_unwanted_one() -> None:
    free, bare = by_class(4, ["a", "b", "c"]), by_class(3, ["a", "b", "c"])
    assert drawn(bare, "b", 3.0) == 0.1, "without a class of nothing there is nothing to guide away from"
    assert drawn(free, "b", 3.0) == round(0.3 + 3 * (0.1 - 0.3), 4)
    assert drawn(bare, "c", 2.0, negative="b") == drawn(free, "c", 2.0, negative="b") == 0.3


def test_the_bundled_adm_is_sampled_on_the_schedule_it_was_trained_on() -> None:
    """Its weights are learned on the cosine schedule; on another one every noise level would be a wrong one."""
    from lienzo.diffusion.schedules import make_betas
    from lienzo.tasks.bundled_stages import ADM_CONFIG

    assert ADM_CONFIG == BUNDLED_ADM
    with torch.device("meta"):
        model = Adm(**ADM_CONFIG)
    engine = AdmEngine(model.to_empty(device="cpu"), CPU)
    assert torch.equal(torch.as_tensor(engine.network.betas), torch.as_tensor(make_betas("cosine", 1000)))


def test_learned_variance_is_left_out_of_the_estimate() -> None:
    torch.manual_seed(0)
    engine = AdmEngine(Adm(**{**ADM, "out_channels": 6}).eval(), CPU)
    out = engine.denoiser(Wish(()), 2, 1.0)(torch.randn(2, 3, 32, 32), torch.ones(2))
    assert out.shape == (2, 3, 32, 32)
