from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Note, Preview, Progress
from lienzo.guidance import paint as painting
from lienzo.guidance.canvas import CANVASES, CodeCanvas, PixelCanvas
from lienzo.guidance.draws import picture_generators
from lienzo.guidance.guide import Guide, make_guide
from lienzo.guidance.optimisers import OPTIMISERS, make_optimiser
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.paint import paint
from lienzo.guidance.prompts import Prompt

OPTIONS = GuidanceOptions.make(cutn=4, cutn_batches=1, tv_scale=10)


def a_guide(perceptor: object, prompts: list[list[Prompt]], seeds: list[int]) -> Guide:
    return make_guide(OPTIONS, prompts, [(perceptor, 1.0)], generators=picture_generators(seeds))


@pytest.mark.parametrize("name", [name for name in CANVASES if name != "sketch"])  # which is black
def test_painting_reaches_the_colour_of_the_prompt(perceptor, name: str) -> None:
    canvas = CANVASES.load(name)(2, 16, 16, generators=picture_generators([1, 2]))
    guide = a_guide(perceptor, [[Prompt("red")], [Prompt("blue")]], [1, 2])
    events = list(paint(canvas, guide, steps=60, lr=0.1))
    colour = canvas.render().detach().mean((2, 3))
    assert colour[0, 0] > colour[0, 1:].max() + 0.1
    assert colour[1, 2] > colour[1, :2].max() + 0.1
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in progress] == list(range(1, 61))
    metrics = {event.name: event.value for event in events if isinstance(event, Metric)}
    assert set(metrics) == {"prompts", "tv", "range"}


def test_a_picture_is_painted_the_same_alone_and_in_a_batch(perceptor) -> None:
    def painted(seeds: list[int]) -> torch.Tensor:
        canvas = PixelCanvas(len(seeds), 12, 12, generators=picture_generators(seeds))
        list(paint(canvas, a_guide(perceptor, [[Prompt("red")]], seeds), steps=5))
        return canvas.render().detach()

    torch.testing.assert_close(painted([7])[0], painted([6, 7])[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("outside", [True, False])
def test_the_callers_grad_mode_is_left_alone(perceptor, outside: bool) -> None:
    canvas = PixelCanvas(1, 12, 12)
    before = canvas.render().detach()
    with torch.set_grad_enabled(outside):
        for _ in paint(canvas, a_guide(perceptor, [[Prompt("red")]], [0]), steps=3, preview_every=1):
            assert torch.is_grad_enabled() is outside
        assert torch.is_grad_enabled() is outside
    assert not torch.equal(canvas.render(), before)


def test_previews_are_pictures(perceptor) -> None:
    canvas = PixelCanvas(2, 12, 10)
    events = list(paint(canvas, a_guide(perceptor, [[Prompt("red")]], [0, 1]), steps=4, preview_every=2))
    previews = [event for event in events if isinstance(event, Preview)]
    assert [(event.index, event.step) for event in previews] == [(0, 2), (1, 2), (0, 4), (1, 4)]
    assert previews[0].image.shape == (12, 10, 3)
    assert previews[0].image.dtype == "uint8"


def test_parameters_are_projected_after_each_step(perceptor) -> None:
    canvas = PixelCanvas(1, 12, 12)
    for _ in paint(canvas, a_guide(perceptor, [[Prompt("white")]], [0]), steps=3, lr=5.0):
        assert canvas.pixels.min() >= 0
        assert canvas.pixels.max() <= 1


def test_closing_stops_the_work(perceptor) -> None:
    canvas = PixelCanvas(1, 12, 12)
    events = paint(canvas, a_guide(perceptor, [[Prompt("red")]], [0]), steps=1000)
    next(events)
    events.close()
    assert len(perceptor.calls) == 1


def test_bad_gradients_are_reported_and_skipped() -> None:
    """A decoder with an infinite slope spoils one picture; the other is painted on."""
    latents = torch.full((2, 3, 8, 8), 0.1)
    latents[0] = 0
    canvas = CodeCanvas(torch.sqrt, latents)
    ramp = torch.linspace(0, 0.5, 8).expand(1, 3, 8, 8)
    guide = Guide(
        GuidanceOptions.make(tv_scale=0), extra=[("ramp", lambda x: (x - ramp).square().mean((1, 2, 3)), 1.0)]
    )
    events = list(paint(canvas, guide, steps=2, lr=0.01))
    notes = [event for event in events if isinstance(event, Note)]
    assert len(notes) == 2
    assert notes[0].level == "warning"
    assert "1 gradients were not finite" in notes[0].text
    assert (canvas.latents[0] == 0).all()
    assert (canvas.latents[1] != 0.1).any()


@pytest.mark.parametrize("name", list(OPTIMISERS))
def test_every_optimiser_paints(perceptor, name: str) -> None:
    canvas = PixelCanvas(1, 12, 12, generators=picture_generators([1]))
    lr = {"sgd": 2e-3}.get(name, 0.1)
    list(paint(canvas, a_guide(perceptor, [[Prompt("red")]], [1]), steps=30, lr=lr, optimiser=name))
    colour = canvas.render().detach().mean((0, 2, 3))
    assert colour[0] > colour[1:].max() + 0.1


def test_an_unknown_optimiser_is_told() -> None:
    with pytest.raises(BadInput, match="did you mean 'adam'"):
        next(paint(PixelCanvas(1, 12, 12), Guide(), optimiser="adamm"))


@pytest.mark.parametrize("chapters", [1, 2])
def test_learning_rates_drop_in_each_chapter(chapters: int) -> None:
    """Under a constant gradient sgd without momentum's memory moves by its rate; here the rates themselves are seen."""
    seen: list[float] = []
    optimiser = make_optimiser("sgd", [torch.zeros(1, requires_grad=True)], 1.0)

    class Spy(PixelCanvas):
        def project(self) -> None:
            seen.append(made[-1].param_groups[0]["lr"])

    made: list[torch.optim.Optimizer] = [optimiser]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painting, "make_optimiser", lambda *given: made.append(make_optimiser(*given)) or made[-1])
        guide = Guide(OPTIONS, extra=[("flat", lambda x: x.square().mean((1, 2, 3)), 1.0)])
        list(paint(Spy(1, 8, 8), [guide] * chapters, steps=8 * chapters, lr=1.0, drops=(0.5, 0.75)))
    assert seen == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01] * chapters)
    assert len(made) == 1 + chapters


def test_chapters_are_painted_one_after_the_other(perceptor) -> None:
    canvas = PixelCanvas(1, 12, 12, generators=picture_generators([1]))
    chapters = [a_guide(perceptor, [[Prompt(colour)]], [1]) for colour in ("red", "blue")]
    halfway = torch.zeros(3)
    for event in paint(canvas, chapters, steps=60, lr=0.1):
        if isinstance(event, Progress) and event.done == 30:
            halfway = canvas.render().detach().mean((0, 2, 3))
    end = canvas.render().detach().mean((0, 2, 3))
    assert halfway[0] > halfway[2] + 0.1
    assert end[2] > end[0] + 0.1


@pytest.mark.parametrize("steps", [3, 7, 9])
def test_a_chapter_may_begin_with_a_turn(perceptor, steps: int) -> None:
    chapters = [a_guide(perceptor, [[Prompt(colour)]], [1]) for colour in ("red", "blue", "white")]
    turns: list[tuple[Guide, int]] = []

    def turn(guide: Guide) -> None:
        turns.append((guide, len(perceptor.calls)))

    list(paint(PixelCanvas(1, 8, 8), chapters, steps=steps, turn=turn))
    assert [guide for guide, _ in turns] == chapters[1:]
    assert [calls for _, calls in turns] == [-(-steps // 3), -(-2 * steps // 3)]


def test_it_stops_when_nothing_becomes_better() -> None:
    guide = Guide(OPTIONS, extra=[("far", lambda x: (x - 9).square().mean((1, 2, 3)), 1.0)])
    events = list(paint(PixelCanvas(1, 8, 8), guide, steps=500, lr=0.2, patience=10))
    done = max(event.done for event in events if isinstance(event, Progress))
    assert 10 < done < 200  # white is reached after a few steps, and nothing is whiter
    assert any(isinstance(event, Note) and event.text.startswith(f"Stopped after {done} of 500") for event in events)
    unwatched = paint(PixelCanvas(1, 8, 8), guide, steps=100, lr=0.2)
    assert sum(isinstance(event, Progress) for event in unwatched) == 100
