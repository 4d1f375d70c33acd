import pytest
import torch
from torch import nn

from lienzo.core.errors import BadWeights
from lienzo.nn.loading import fill_exactly


def empty() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_fills_a_meta_network_and_keeps_it_trainable() -> None:
    state = {key: torch.randn(value.shape) for key, value in empty().state_dict().items()}
    state["1.bias"] = state["1.bias"].half()
    network = fill_exactly(empty(), state, "a test")
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].float())
    network(torch.ones(1, 2)).sum().backward()
    assert network[0].weight.grad is not None


def test_names_up_to_three_missing_and_unexpected_keys() -> None:
    state = {f"k{i}": torch.zeros(1) for i in range(5)}
    with pytest.raises(BadWeights) as error:
        fill_exactly(empty(), state | {"1.bias": torch.zeros(1)}, "a test")
    assert str(error.value) == (
        "The weights are not those of a test: '0.weight', '0.bias', '1.weight' are missing and "
        "'k0', 'k1', 'k2' and 2 more are unexpected."
    )


def test_names_a_wrong_shape() -> None:
    state = {key: torch.zeros(value.shape) for key, value in empty().state_dict().items()}
    with pytest.raises(BadWeights, match=r"'1.weight' has shape \(1, 4\), not \(1, 3\)"):
        fill_exactly(empty(), state | {"1.weight": torch.zeros(1, 4)}, "a test")
