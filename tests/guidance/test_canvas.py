from __future__ import annotations

import pytest
import torch

from lienzo.guidance.canvas import CANVASES, CodeCanvas, FourierCanvas, PixelCanvas
from lienzo.guidance.draws import picture_generators


@pytest.mark.parametrize("name", list(CANVASES))
@pytest.mark.parametrize("size", [(12, 16), (9, 7)])
def test_every_canvas_conforms(name: str, size: tuple[int, int]) -> None:
    """Pictures in [0, 1], each its own alone or in a batch, with a gradient to each picture's parameters."""
    make = CANVASES.load(name)
    canvas = make(3, *size, generators=picture_generators([1, 2, 3]))
    pictures = canvas.render()
    assert pictures.shape == (3, 3, *size)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    alone = make(1, *size, generators=picture_generators([2])).render()
    torch.testing.assert_close(alone[0], pictures[1])
    for parameter in canvas.parameters():
        assert parameter.is_leaf
        (grad,) = torch.autograd.grad(canvas.render().square().sum(), parameter)
        assert (grad.flatten(1).norm(dim=1) > 0).all()
    start = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    torch.testing.assert_close(make(2, *size, start=start).render(), start.expand(2, -1, -1, -1), atol=1e-4, rtol=0)


def test_pixels_are_projected_into_range() -> None:
    canvas = PixelCanvas(1, 4, 4)
    with torch.no_grad():
        canvas.pixels += 3
    canvas.project()
    assert canvas.pixels.max() == 1


def test_fourier_parameters_of_unit_size_give_natural_contrast() -> None:
    """Low frequencies hold most of the variance, and the pixels before the sigmoid have about unit variance."""
    canvas = FourierCanvas(8, 64, 64, generators=torch.Generator().manual_seed(0))
    with torch.no_grad():
        canvas.spectrum.mul_(2)  # to standard deviation 1
        light = canvas.render().logit().mean(1)
    power = torch.fft.rfft2(light, norm="ortho").abs().square().mean(0)
    assert power[0, 1] > 20 * power[0, 10] > 20 * power[0, 31]
    assert 0.3 < light.std() < 3


def test_codes_are_rounded_and_kept_in_bounds() -> None:
    codebook = torch.tensor([[-1.0, -1, -1], [0.5, 0.5, 0.5], [1.0, 0, -1]])
    canvas = CodeCanvas(lambda z: z, torch.full((2, 3, 4, 4), 0.3), codebook)
    torch.testing.assert_close(canvas.render(), torch.full((2, 3, 4, 4), 0.75))
    (grad,) = torch.autograd.grad(canvas.render().sum(), canvas.latents)
    assert (grad == 0.5).all()
    with torch.no_grad():
        canvas.latents += 5
    canvas.project()
    assert canvas.latents.amax((0, 2, 3)).tolist() == [1.0, 0.5, 0.5]
    free = CodeCanvas(lambda z: z, torch.full((1, 3, 4, 4), 0.3))
    free.project()
    torch.testing.assert_close(free.render(), torch.full((1, 3, 4, 4), 0.65))
