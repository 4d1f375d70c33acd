from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lienzo.core.events import Note, Preview, Progress
from lienzo.guidance.canvas import PixelCanvas
from lienzo.guidance.draws import picture_generators
from lienzo.guidance.growing import GrowingCanvas, halvings
from lienzo.guidance.guide import make_guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.paint import paint
from lienzo.guidance.prompts import Prompt

SIZES = [(8, 12), (16, 24), (32, 48)]


def a_canvas(share: float = 0.6) -> GrowingCanvas:
    def make(height: int, width: int, start: Tensor | None) -> PixelCanvas:
        return PixelCanvas(1, height, width, start=start, generators=picture_generators([3]))

    return GrowingCanvas(make, SIZES, share)


def a_guide(perceptor: object):
    options = GuidanceOptions.make(cutn=4, cutn_batches=1, tv_scale=10)
    return make_guide(options, [[Prompt("red")]], [(perceptor, 1.0)], generators=picture_generators([0]))


def test_sizes_share_the_first_part_of_the_run(perceptor) -> None:
    canvas = a_canvas()
    previews = [event.image.shape[:2] for event in paint(canvas, a_guide(perceptor), steps=10, preview_every=1)
                if isinstance(event, Preview)]  # fmt: skip
    assert previews == [SIZES[0]] * 3 + [SIZES[1]] * 3 + [SIZES[2]] * 4
    assert not canvas.growing


def test_each_chapter_begins_small_and_moves_as_far_as_the_first(perceptor) -> None:
    canvas, moved = a_canvas(share=0.5), []
    before = canvas.render().detach()
    for event in paint(canvas, [a_guide(perceptor), a_guide(perceptor)], steps=16, lr=0.02):
        if isinstance(event, Progress):
            now = canvas.render().detach()
            moved.append((now.shape[2:], float((now - before).abs().max()) if now.shape == before.shape else None))
            before = now
    assert [shape for shape, _ in moved] == ([SIZES[0]] * 2 + [SIZES[1]] * 2 + [SIZES[2]] * 4) * 2
    assert min(moved[step][1] or 0 for step in (0, 1, 9)) > 0.015


@pytest.mark.parametrize(("steps", "share"), [(1, 0.6), (2, 1.0), (3, 0.0)])
def test_the_end_is_the_full_size_however_few_steps(perceptor, steps: int, share: float) -> None:
    canvas = a_canvas(share)
    list(paint(canvas, a_guide(perceptor), steps=steps))
    assert canvas.render().shape == (1, 3, *SIZES[-1])


def test_a_larger_size_goes_on_from_the_smaller_ones_picture(perceptor) -> None:
    canvas = a_canvas()
    with torch.no_grad():
        canvas.parameters()[0][:] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    assert not canvas.grow(0.29)
    assert canvas.grow(0.31)
    assert canvas.render().shape[2:] == SIZES[1]
    torch.testing.assert_close(canvas.render().detach().mean((2, 3))[0], torch.tensor([0.9, 0.2, 0.1]))
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in canvas.parameters())


def test_the_smallest_size_may_begin_from_a_picture() -> None:
    def make(height: int, width: int, start: Tensor | None) -> PixelCanvas:
        return PixelCanvas(1, height, width, start=start)

    start = torch.tensor([0.9, 0.2, 0.1])[:, None, None].expand(1, 3, 40, 60)
    canvas = GrowingCanvas(make, SIZES, 0.6, start)
    assert canvas.render().shape[2:] == SIZES[0]
    torch.testing.assert_close(canvas.render().detach(), start[..., :8, :12])


def test_painting_reaches_the_prompt_and_does_not_stop_while_small(perceptor) -> None:
    canvas = a_canvas()
    events = list(paint(canvas, a_guide(perceptor), steps=60, lr=0.1, patience=1))
    colour = canvas.render().detach().mean((2, 3))[0]
    assert colour[0] > colour[1:].max() + 0.1
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done[-1] > 36
    assert any(isinstance(event, Note) and "Stopped" in event.text for event in events)


def test_what_has_grown_is_refined_by_smaller_steps(perceptor) -> None:
    canvas, moved = a_canvas(share=0.5), []
    before = canvas.render().detach()
    for event in paint(canvas, a_guide(perceptor), steps=6, lr=0.02):
        if isinstance(event, Progress):
            now = canvas.render().detach()
            if now.shape == before.shape:
                moved.append((canvas.level, float((now - before).abs().max())))
            before = now
    assert min(step for level, step in moved if level == 0) > 0.015
    refined = [step for level, step in moved if level == 2]
    assert 0 < max(refined) < 0.004
    assert refined[-1] < 0.8 * refined[0]


def test_halvings_stay_multiples_and_above_the_smallest() -> None:
    assert halvings(128, 128, 8) == [(64, 64), (128, 128)]
    assert halvings(256, 448, 16) == [(64, 112), (128, 224), (256, 448)]
    assert halvings(120, 240, 8) == [(120, 240)]
    assert all(side % 16 == 0 for size in halvings(304, 528, 16) for side in size)
