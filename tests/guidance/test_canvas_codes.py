from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.canvas import learning_rate
from lienzo.guidance.canvas_codes import code_canvas
from lienzo.guidance.draws import picture_generators


class Squares:
    """Latents are the means of 4 x 4 pixels; with a codebook, for rounding them to."""

    factor, channels = 4, 3

    def encode(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 4)

    def decode(self, latents: Tensor) -> Tensor:
        return F.interpolate(latents, scale_factor=4.0)


class Rounded(Squares):
    codebook = torch.tensor([[-1.0, -1, -1], [1.0, 1, 1], [1.0, -1, -1]])


@pytest.mark.parametrize("stage", [Squares(), Rounded()])
def test_pictures_are_the_same_alone_and_in_a_batch(stage: Squares) -> None:
    both = code_canvas(stage, 2, 8, 12, generators=picture_generators([1, 2])).render()
    alone = code_canvas(stage, 1, 8, 12, generators=picture_generators([2])).render()
    assert both.shape == (2, 3, 8, 12)
    torch.testing.assert_close(alone[0], both[1])
    assert not torch.equal(both[0], both[1])


def test_a_start_picture_is_encoded() -> None:
    start = torch.rand(1, 3, 8, 12)
    canvas = code_canvas(Squares(), 2, 8, 12, start=start)
    torch.testing.assert_close(canvas.render()[1], F.interpolate(F.avg_pool2d(start, 4), scale_factor=4.0)[0])
    red = torch.tensor([0.9, 0.1, 0.2]).view(1, 3, 1, 1).expand(1, 3, 8, 12)
    rounded = code_canvas(Rounded(), 1, 8, 12, start=red).render()
    torch.testing.assert_close(rounded[0, :, 0, 0], torch.tensor([1.0, 0, 0]))


def test_codes_start_from_a_grainy_grey() -> None:
    class Grey(Rounded):
        def encode(self, images: Tensor) -> Tensor:
            assert images.mean().abs() < 0.05
            assert 0.1 < images.std() < 0.3
            return super().encode(images)

    first, second = (code_canvas(Grey(), 1, 16, 16, generators=picture_generators([seed])).latents for seed in (0, 1))
    assert not torch.equal(first, second)


def test_a_stage_that_can_is_not_asked_to_round_again() -> None:
    class Twice(Rounded):
        def decode(self, latents: Tensor) -> Tensor:
            raise AssertionError("the canvas has rounded already")

        def decode_unquantised(self, latents: Tensor) -> Tensor:
            return Squares.decode(self, latents)

    start = torch.rand(1, 3, 8, 8)
    plain, spared = (code_canvas(stage, 1, 8, 8, start=start).render() for stage in (Rounded(), Twice()))
    torch.testing.assert_close(plain, spared)


def test_steps_are_as_large_as_the_spread_of_the_codes() -> None:
    class Wide(Rounded):
        codebook = 3 * Rounded.codebook

    narrow, wide = (learning_rate(code_canvas(stage, 1, 8, 8)) for stage in (Rounded(), Wide()))
    assert wide == pytest.approx(3 * narrow)


def test_sides_must_fit() -> None:
    with pytest.raises(BadInput, match="12 by 8 would do"):
        code_canvas(Squares(), 1, 9, 13)
