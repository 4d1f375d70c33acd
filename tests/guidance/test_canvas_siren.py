from __future__ import annotations

import pytest
import torch

from lienzo.guidance.canvas import learning_rate, settings_of
from lienzo.guidance.canvas_siren import SirenCanvas
from lienzo.guidance.draws import picture_generators
from lienzo.guidance.optimisers import make_optimiser


def disc(side: int = 32) -> torch.Tensor:
    """Red on white."""
    place = torch.linspace(-1, 1, side)
    inside = torch.hypot(place[:, None], place) < 0.5
    return torch.where(inside, torch.tensor([0.9, 0.1, 0.1])[:, None, None], torch.tensor(0.95))[None]


def grain(picture: torch.Tensor) -> float:
    """Mean difference of neighbours."""
    return float((picture.diff(dim=-1).abs().mean() + picture.diff(dim=-2).abs().mean()) / 2)


@pytest.mark.parametrize("hidden", [16, settings_of("siren")["hidden"], 96])
def test_its_learning_rate_makes_a_picture_and_no_noise(hidden: int) -> None:
    canvas = SirenCanvas(1, 32, 32, hidden=hidden, generators=picture_generators([3]))
    assert grain(canvas.render().detach()) < 0.1
    stepper = make_optimiser("adam", canvas.parameters(), learning_rate(canvas))
    wanted = disc()
    before = float((canvas.render().detach() - wanted).square().mean())
    for _ in range(60):
        stepper.zero_grad()
        (canvas.render() - wanted).square().mean().backward()
        stepper.step()
    painted = canvas.render().detach()
    assert float((painted - wanted).square().mean()) < 0.15 * before
    assert grain(painted) < 0.1


def test_a_larger_frequency_is_finer() -> None:
    soft, fine = (
        SirenCanvas(1, 32, 32, frequency=each, generators=picture_generators([3])).render().detach() for each in (4, 40)
    )
    assert grain(fine) > 3 * grain(soft)
