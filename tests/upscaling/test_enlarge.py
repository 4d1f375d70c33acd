"""Enlarging pictures of any size as a stream of events."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress
from lienzo.upscaling.enlarge import Enlarged, enlarge
from lienzo.upscaling.swinir import SwinIR


def network(**options: Any) -> SwinIR:
    torch.manual_seed(0)
    base = {"img_size": 8, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4, "upscale": 2}
    return SwinIR(**{**base, "upsampler": "pixelshuffledirect", "drop_path_rate": 0.5, **options})


def final(model: SwinIR, images: Tensor, **options: Any) -> Tensor:
    *progress, last = enlarge(model, images, **options)
    assert all(isinstance(event, Progress) for event in progress)
    assert [event.done for event in progress] == list(range(1, len(progress) + 1))
    assert progress[-1].done == progress[-1].total
    assert isinstance(last, Enlarged)
    return last.images


def test_small_pictures_pass_at_once_and_are_clamped() -> None:
    model, images = network(), 2 * torch.rand(2, 3, 9, 7) - 0.5
    found = final(model, images)
    with torch.no_grad():
        expected = torch.cat([model.eval()(image) for image in images.split(1)])
    assert expected.min() < 0
    assert expected.max() > 1
    torch.testing.assert_close(found, expected.clamp(0, 1), atol=0, rtol=0)


def test_the_network_stays_in_its_mode_and_no_gradient_leaks() -> None:
    model = network().train()
    images = torch.rand(1, 3, 20, 20, requires_grad=True)
    seen = []
    for event in enlarge(model, images, tile=8, overlap=4):
        assert torch.is_grad_enabled()
        assert model.training
        seen.append(event)
    assert isinstance(seen[-1], Enlarged)
    assert not seen[-1].images.requires_grad
    torch.testing.assert_close(seen[-1].images, final(model, images, tile=8, overlap=4), atol=0, rtol=0)


def test_tiles_bound_what_the_network_gets() -> None:
    model, sides = network(), []
    model.conv_first.register_forward_pre_hook(lambda _, args: sides.append(max(args[0].shape[2:])))
    assert final(model, torch.rand(1, 3, 30, 21), tile=15, overlap=4).shape == (1, 3, 60, 42)
    assert max(sides) == 12  # 15, rounded down to windows of 4


def test_a_picture_is_the_same_alone_and_in_a_batch() -> None:
    model, images = network(), torch.rand(3, 3, 13, 10)
    together = final(model, images, tile=8, overlap=2)
    for index in range(3):
        alone = final(model, images[index : index + 1], tile=8, overlap=2)
        torch.testing.assert_close(together[index : index + 1], alone, atol=0, rtol=0)


def test_a_grey_network_treats_each_colour_alike() -> None:
    model, images = network(in_chans=1), torch.rand(2, 3, 9, 9)
    found = final(model, images)
    for channel in range(3):
        torch.testing.assert_close(found[:, channel : channel + 1], final(model, images[:, channel : channel + 1]))


def test_closing_stops_the_work() -> None:
    model, calls = network(), []
    model.conv_first.register_forward_hook(lambda *_: calls.append(1))
    events = enlarge(model, torch.rand(1, 3, 40, 40), tile=8, overlap=0)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ((3, 8, 8), {}, "wants colour pictures"),
        ((1, 1, 8, 8), {}, "wants colour pictures"),
        ((1, 3, 8, 8), {"tile": 3}, "4 pixels of the window"),
        ((1, 3, 8, 8), {"overlap": -1}, "overlap at least 0"),
    ],
)
def test_bad_input_gets_one_sentence_before_any_work(shape: tuple, options: dict, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        enlarge(network(), torch.rand(*shape), **options)
