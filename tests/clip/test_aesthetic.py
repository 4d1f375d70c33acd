from __future__ import annotations

import pytest
import torch

from lienzo.clip.aesthetic import AestheticHead, detect, load
from lienzo.core.errors import BadWeights


def test_a_head_is_detected_and_reloads_from_its_tensors_alone() -> None:
    head = AestheticHead(12).eval()
    again = load(head.state_dict())
    assert again.config == head.config
    assert not again.training
    x = torch.randn(3, 12)
    torch.testing.assert_close(again(x), head(x))


def test_a_single_layer_is_a_head() -> None:
    state = {"weight": torch.randn(1, 5), "bias": torch.randn(1)}
    head = load(state)
    assert head.config == {"width": 5, "hidden": [], "dropout": []}
    x = torch.randn(3, 5)
    torch.testing.assert_close(head(x), x @ state["weight"].T + state["bias"])


def test_other_weights_are_refused() -> None:
    for state in ({}, {"weight": torch.ones(2, 5), "bias": torch.ones(2)}, {"layers.0.weight": torch.ones(1, 2, 3)}):
        assert not detect(state)
        with pytest.raises(BadWeights, match="aesthetic head"):
            load(state)
    with pytest.raises(BadWeights, match="missing"):
        load({"layers.0.weight": torch.ones(1, 2)})
