"""The refiner begins with a constant, takes any size of its multiple, and saves and loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lienzo.core.errors import BadWeights
from lienzo.diffusion.refiner import Refiner, detect, load
from lienzo.weights.models import Card, load_model, save_model


def shaken(**config: object) -> Refiner:
    torch.manual_seed(0)
    model = Refiner(**config).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model.requires_grad_(False)


@pytest.mark.parametrize("config", [{"widths": (8,)}, {"widths": (8, 16)}, {"widths": (8, 16, 24), "depth": 2}])
def test_fresh_it_adds_a_constant_and_trained_it_looks(config: dict[str, object]) -> None:
    """The last weights begin at zero, so that a new network adds the same to whatever it sees."""
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    fresh, later = Refiner(**config), shaken(**config)  # type: ignore[arg-type]
    assert torch.allclose(fresh(x) - x, fresh(-x) + x, atol=1e-6)
    assert later(x).shape == x.shape
    assert not torch.allclose(later(x) - x, later(-x) + x, atol=1e-3)


def test_a_picture_is_the_same_alone_or_in_a_batch() -> None:
    model = shaken(widths=(8, 16))
    x = torch.rand(3, 3, 8, 8)
    assert torch.allclose(torch.cat([model(i[None]) for i in x]), model(x), atol=1e-6)


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = shaken(widths=(8, 16))
    path = tmp_path / "refiner.safetensors"
    save_model(path, "refiner", model.config, model.state_dict(), Card(title="t", licence="CC0-1.0"))
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(load_model(path)(x), model(x))
    assert detect(model.state_dict())
    with pytest.raises(BadWeights, match="a refiner"):
        load(model.state_dict(), {"widths": [8]})


def test_it_grows_the_picture_and_heeds_what_it_is_told() -> None:
    model = shaken(widths=(8, 16), scale=2, condition=8, text_dim=5, styles=("flat", "blob"))
    x, text = torch.rand(2, 3, 8, 8), torch.rand(2, 5)
    style, none = torch.tensor([0, 1]), torch.tensor([2, 2])
    told = model(x, text, style)
    assert told.shape == (2, 3, 16, 16)
    assert not torch.allclose(told, model(x, text.roll(1, 0), style), atol=1e-4)
    assert not torch.allclose(told, model(x, text, style.flip(0)), atol=1e-4)
    hidden = model(x, text, none, torch.tensor([False, False]))
    assert torch.allclose(hidden, model(x), atol=1e-6), "nothing said is the same as a hidden sentence and no style"
