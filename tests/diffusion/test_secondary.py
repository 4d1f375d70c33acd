import math

import pytest
import torch
from goldens import assert_same, named_weights
from torch import Tensor

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.secondary import SecondaryModel, cosine_time, detect, load


def build() -> SecondaryModel:
    model = SecondaryModel(channels=4)
    named_weights(model, "t:")
    return model.eval()


def inputs(height: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0)), torch.tensor([0.2, 0.9])


@torch.no_grad()
def test_the_three_predictions_agree_with_the_input() -> None:
    x, t = inputs(32, 64)
    prediction = build()(x, t)
    alpha, sigma = (f(t * math.pi / 2)[:, None, None, None] for f in (torch.cos, torch.sin))
    assert_same(alpha * prediction.pred + sigma * prediction.eps, x, 1e-5)
    assert_same(alpha * prediction.eps - sigma * prediction.pred, prediction.v, 1e-5)
    assert prediction.v.std() > 1e-3


def test_cosine_time_inverts_the_schedule() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(cosine_time((t * math.pi / 2).cos(), (t * math.pi / 2).sin()), t)


@torch.no_grad()
def test_time_matters() -> None:
    model = build()
    x, t = inputs(32, 32)
    assert not torch.allclose(model(x, t).v, model(x, t + 0.05).v, atol=1e-4)


def test_sizes() -> None:
    with pytest.raises(BadInput, match="multiples of 32"):
        build()(*inputs(32, 48))


@torch.no_grad()
def test_saves_is_detected_and_reloads() -> None:
    model = build()
    state = model.state_dict()
    assert detect(state)
    assert not detect({key: value for key, value in state.items() if key.startswith("net.")})
    again = load(state)
    assert again.config == model.config
    assert torch.equal(again(*inputs(32, 32)).v, model(*inputs(32, 32)).v)


def test_wrong_weights() -> None:
    state = build().state_dict()
    with pytest.raises(BadWeights, match=r"'net.4.weight' is missing"):
        load({})
    with pytest.raises(BadWeights, match=r"'net.0.0.bias' is missing and 'x' is unexpected"):
        load({("x" if key == "net.0.0.bias" else key): value for key, value in state.items()})
