from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.guidance.canvas import (
    CANVASES,
    CodeCanvas,
    FourierCanvas,
    PixelCanvas,
    learning_rate,
    make_canvas,
    settings_of,
)
from lienzo.guidance.draws import picture_generators

NEAR = {
    "pixels": 1e-4, "fourier": 1e-4, "wavelet": 1e-4, "siren": 1e-4, "rect": 0.12, "rectshift": 0.12, "hex": 0.12,
    "tri": 0.12, "diamond": 0.12, "knit": 0.12, "strokes": 0.2,
}  # fmt: skip
"""Mean difference from a smooth start picture; a sketch only puts its lines where it is dark."""


def smooth_picture(height: int, width: int) -> torch.Tensor:
    ys, xs = torch.linspace(0.1, 0.9, height), torch.linspace(0.9, 0.1, width)
    return torch.stack([xs.expand(height, width), ys[:, None].expand(height, width), xs * ys[:, None]])[None]


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
        assert len(parameter) == 3
        (grad,) = torch.autograd.grad(canvas.render().square().sum(), parameter)
        assert grad.isfinite().all()
        assert (grad.flatten(1).norm(dim=1) > 0).all()
    assert 0 < learning_rate(canvas) < 1


@pytest.mark.parametrize("name", list(NEAR))
def test_every_canvas_can_start_from_a_picture(name: str) -> None:
    start = smooth_picture(20, 30)
    canvas = CANVASES.load(name)(2, 20, 30, start=start, generators=picture_generators([1, 2]))
    assert (canvas.render() - start).abs().mean() < NEAR[name]


@pytest.mark.parametrize("name", list(CANVASES))
def test_every_canvas_can_be_painted(name: str) -> None:
    """Adam at the canvas's own rate brings the picture nearer to another one, within the bounds it projects to."""
    target = smooth_picture(16, 16)
    if name == "sketch":
        target = (target.mean(1, keepdim=True) > 0.35).float().expand(1, 3, 16, 16)
    canvas = CANVASES.load(name)(1, 16, 16, generators=picture_generators([5]))
    optimiser = torch.optim.Adam(canvas.parameters(), lr=learning_rate(canvas), betas=(0.9, 0.99))
    errors = []
    for _ in range(40):
        error = (canvas.render() - target).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        if hasattr(canvas, "project"):
            canvas.project()
        errors.append(error.item())
    assert errors[-1] < (0.85 if name == "sketch" else 0.5) * errors[0]


def test_canvases_are_made_from_a_line() -> None:
    canvas = make_canvas("strokes; strokes=5; thick=0.1", 2, 8, 8)
    assert [len(part[0]) for part in canvas.parameters()] == [5, 5, 5]
    assert settings_of("hex") == {"cells": 32}
    assert settings_of("pixels") == {}
    torch.testing.assert_close(
        make_canvas("pixels", 1, 4, 4, start=torch.full((1, 3, 4, 4), 0.3)).render(), torch.full((1, 3, 4, 4), 0.3)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hx", "did you mean 'hex'"),
        ("", "no name"),
        ("hex; size=3", "it has cells"),
        ("pixels; size=3", "it has none"),
        ("hex; cells=many", "a whole number"),
        ("hex; cells=0", "1 to 1024"),
        ("hex; cells", "key=value"),
        ("hex; cells=2; cells=3", "twice"),
        ("siren; frequency=nan", "finite"),
        ("siren; frequency=-1", "above 0"),
        ("siren; layers=0", "1 to 16 layers"),
        ("wavelet; moments=9", "vanishing moments"),
        ("wavelet; levels=-1", "levels"),
        ("strokes; strokes=0", "1 to 4096"),
        ("sketch; thick=2", "at most 0.5"),
        ("hex:x", "write a number"),
    ],
)
def test_bad_lines_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        make_canvas(text, 1, 8, 8)


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
