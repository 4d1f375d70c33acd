"""The fast U-Net for small pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.shuffle_unet import ShuffleUnet, detect, load

SMALL: dict[str, Any] = {
    "image_size": 8, "widths": (8, 16), "depths": (1, 1), "head_width": 8, "condition": 16, "num_classes": 3,
}  # fmt: skip


def network(**options: Any) -> ShuffleUnet:
    """A network whose zeros are filled, so that everything matters."""
    torch.manual_seed(0)
    model = ShuffleUnet(**{**SMALL, **options}).eval().requires_grad_(False)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.normal_(std=0.3)
    return model


VARIANTS: dict[str, dict[str, Any]] = {
    "small": {},
    "colour": {"channels": 3, "classes": ["a", "b", "c"]},
    "deep": {"depths": (2, 2)},
    "three levels": {"widths": (8, 16, 24), "depths": (1, 1, 2)},
    "one level": {"widths": (8,), "depths": (1,)},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_saved_and_loaded_it_is_the_same(options: dict[str, Any]) -> None:
    model = network(**options)
    x = torch.randn(2, model.channels, 8, 16)  # not square
    c_noise, y = torch.tensor([-0.5, 0.4]), torch.tensor([0, 2])
    answer = model(x, c_noise, y)
    assert answer.shape == x.shape
    assert detect(model.state_dict())
    assert torch.equal(load(model.state_dict(), model.config)(x, c_noise, y), answer)


def test_every_parameter_and_every_input_matters() -> None:
    model = network().requires_grad_(True)
    x, c_noise, y = torch.randn(2, 1, 8, 8, requires_grad=True), torch.tensor([-0.5, 0.4]), torch.tensor([0, 3])
    model(x, c_noise, y).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert bool((x.grad != 0).all())
    with torch.no_grad():
        answer = model(x, c_noise, y)
        assert not torch.equal(model(x, c_noise + 0.1, y), answer)
        assert not torch.equal(model(x, c_noise, torch.tensor([1, 1])), answer)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="multiples of 4; 1 channels of 10x8 are not"):
        network()(torch.zeros(1, 1, 8, 10), torch.zeros(1), torch.zeros(1, dtype=torch.long))
    for wrong in ({"widths": (8, 12)}, {"depths": (1,)}, {"head_width": 7}):
        with pytest.raises(BadInput, match="widths of a shuffle U-Net"):
            network(**wrong)
    with pytest.raises(BadWeights, match=r"'enter\.bias' is missing"):
        load({k: v for k, v in network().state_dict().items() if k != "enter.bias"}, SMALL)
