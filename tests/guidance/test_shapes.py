from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lienzo.guidance.cutouts import PaperCutouts
from lienzo.guidance.guide import Guide, aim
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.prompts import parse_prompts
from lienzo.guidance.shapes import Shapes, found_shapes, looks_of

BLUE = torch.tensor([0.1, 0.2, 0.9]).view(3, 1, 1)


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bluest(pictures: Tensor) -> Tensor:
    """How far the middle is from blue and the rim from white."""
    middle, rim = pictures[..., 28:-28, 28:-28], pictures[..., :6, :]
    return (middle - BLUE).abs().mean((1, 2, 3)) + (1 - rim).abs().mean((1, 2, 3))


def test_what_is_found_is_what_was_asked_for() -> None:
    found = found_shapes(bluest, 128, 128, dice())
    first = bluest(Shapes.drawn(128, dice()).render(64, 64)).min()
    assert found.shape == (1, 3, 128, 128)
    assert 0 <= found.min() < found.max() <= 1
    assert bluest(found[..., ::2, ::2])[0] < 0.6 * first
    middle, corner = found[0, :, 64, 64], found[0, :, 2, 2]
    assert middle[2] > middle[0] + 0.4
    assert corner.min() > 0.7


def test_the_seed_decides() -> None:
    one, same, other = (found_shapes(bluest, 64, 96, dice(seed)) for seed in (1, 1, 2))
    assert one.shape == (1, 3, 64, 96)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_all_sizes_show_the_same_shapes() -> None:
    trials = Shapes.drawn(8, dice())
    small, large = trials.render(32, 48), trials.render(128, 192)
    assert (torch.nn.functional.avg_pool2d(large, 4) - small).abs().mean() < 0.01


def test_shapes_lie_on_a_picture_where_one_is_given() -> None:
    under = torch.linspace(0, 1, 96).expand(1, 3, 64, 96)
    trials = Shapes.drawn(40, dice())
    plain, laid = trials.render(64, 96), trials.render(64, 96, under=under)
    inside = (plain - laid).abs().amax(1) < 1e-3  # the shapes
    assert 0.05 < inside.float().mean() < 0.6
    at_the_rim = laid[:, :, 0, 0].amax(1)
    assert at_the_rim.median() < 0.01
    found = found_shapes(bluest, 64, 96, dice(), under=under)
    assert found[0, 2, 32, 48] > found[0, 0, 32, 48] + 0.3
    assert found[0, :, 0, 0].max() < 0.3


def test_lines_are_ink_on_white_paper() -> None:
    drawn = Shapes.drawn(16, dice()).render(64, 64, lines=True)
    assert (drawn == drawn[:, :1]).all()
    assert drawn.amin((1, 2, 3)).max() < 0.2
    assert drawn.mean() > 0.6
    assert drawn[:, :, 0, 0].median() > 0.99


def test_what_is_not_finite_is_never_the_best() -> None:
    def half_blind(pictures: Tensor) -> Tensor:
        return torch.where(pictures[:, 0, 32, 32] < 0.5, torch.nan, bluest(pictures))

    assert found_shapes(half_blind, 64, 64, dice())[0, 0, 32, 32] >= 0.5
    assert (
        found_shapes(lambda pictures: pictures.new_full((len(pictures),), torch.nan), 64, 64, dice()).isfinite().all()
    )


@pytest.mark.parametrize("text", ["red", "blue:2", "red | green:-0.9"])
def test_the_prompts_decide_with_their_weights(perceptor, text: str) -> None:
    options = GuidanceOptions.make(cutn=5)
    target = replace(aim(perceptor, PaperCutouts(perceptor.size, options), [parse_prompts(text)], None, 1.0), veil=2.0)
    colours = torch.eye(3)[:, :, None, None].expand(3, 3, 8, 8)
    score = looks_of(Guide(options, [target]))(colours)
    assert int(score.argmin()) == (2 if text.startswith("blue") else 0)
    assert perceptor.calls == [3]  # each picture is seen once, as it is
    assert perceptor.sigmas == [None]
