"""The engine of small models of classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.diffusion.class_denoisers import ClassNetwork
from lienzo.diffusion.classcond_unet import ClassCondUnet
from lienzo.diffusion.dit import DiT
from lienzo.diffusion.shuffle_unet import ShuffleUnet
from lienzo.tasks.create import Create
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.engines.classes import ClassEngine

CPU = torch.device("cpu")
CLOTHES = ["shirt", "bag", "boot"]


def networks() -> dict[str, ClassNetwork]:
    torch.manual_seed(0)
    unet: dict[str, Any] = {"block_out_channels": (8, 8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    return {
        "shuffle": ShuffleUnet(8, widths=(8,), depths=(1,), head_width=8, num_classes=3, classes=CLOTHES),
        "colour": ShuffleUnet(8, 3, widths=(8,), depths=(1,), head_width=8, num_classes=3, classes=CLOTHES),
        "unet": ClassCondUnet(3, sample_size=8, classes=CLOTHES, **unet),
        "unet with null class": ClassCondUnet(3, sample_size=8, null_class=True, classes=CLOTHES, **unet),
        "dit": DiT(8, 4, 1, 8, 1, 1, num_classes=3, learn_sigma=False, objective="flow", classes=CLOTHES),
    }


def engine(name: str = "shuffle") -> ClassEngine:
    made = engine_for(networks()[name].eval(), Create.make(prompt="x"), CPU)
    assert isinstance(made, ClassEngine)
    return made


@pytest.mark.parametrize("name", networks())
@torch.no_grad()
def test_what_an_engine_promises(name: str) -> None:
    made = engine(name)
    for steps in (1, made.steps, 1000):
        sigmas = made.sigmas(steps)
        assert len(sigmas) == steps + 1
        assert (sigmas.diff() < 0).all()
        assert sigmas[-1] == 0
    assert made.latents.shape == (3 if name == "colour" else 1, 8, 8)
    x = torch.randn(2, *made.latents.shape)
    bag = Wish((("Bag", 1.0),))
    denoised = made.denoiser(bag, 2, 2.0)(x, torch.tensor([3.0, 3.0]))
    assert denoised.shape == x.shape
    assert denoised.abs().max() <= 1
    for picture in (made.latents.decode(denoised), made.latents.finish(3 * denoised, bag)):
        assert picture.shape == (2, 3, 8, 8)
    assert made.latents.finish(3 * denoised, bag).abs().max() <= 1
    assert made.latents.encode is not None
    assert torch.allclose(made.latents.encode(made.latents.decode(denoised)), denoised, atol=1e-6)


def answering(name: str) -> ClassEngine:
    """An engine whose network answers its label, whatever it is shown."""
    made = engine(name)
    made.network = lambda x, sigma, y: 0.1 * y.view(-1, 1, 1, 1).expand_as(x).float()  # type: ignore[assignment]
    return made


def drawn(made: ClassEngine, text: str, guidance: float = 1.0, negative: str = "") -> float:
    out = made.denoiser(Wish(((text, 1.0),), negative=negative), 1, guidance)(torch.zeros(1, 1, 8, 8), torch.ones(1))
    return round(out[0, 0, 0, 0].item(), 4)


def test_classes_by_name_or_number_and_guidance_away_from_no_class() -> None:
    made = answering("shuffle")
    assert [drawn(made, text) for text in ("Shirt", " bag", "2")] == [0.0, 0.1, 0.2]
    assert drawn(made, "boot", 3.0) == pytest.approx(0.3 + 3 * (0.2 - 0.3))
    assert drawn(made, "boot", 3.0, negative="bag") == pytest.approx(0.1 + 3 * (0.2 - 0.1))


def test_without_a_null_class_guidance_changes_nothing() -> None:
    made = answering("unet")
    assert drawn(made, "boot", 3.0) == 0.2
    assert drawn(answering("unet with null class"), "boot", 3.0) == pytest.approx(0.3 + 3 * (0.2 - 0.3))


def test_what_cannot_be_drawn_is_refused() -> None:
    made = answering("shuffle")
    with pytest.raises(BadInput, match="knows no 'fox'; it knows shirt, bag, boot"):
        drawn(made, "fox")
    for wish in (Wish(()), Wish((("bag", 1.0), ("boot", 0.5))), Wish((("bag", 1.0), ("boot", -1.0)), negative="shirt")):
        with pytest.raises(BadInput, match="one class a picture"):
            made.denoiser(wish, 1, 1.0)
    with pytest.raises(BadInput, match="latents of 4 channels"):
        ClassEngine(DiT(8, 4, 4, 8, 1, 1), CPU)
