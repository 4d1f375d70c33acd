"""The aesthetic head equals improved-aesthetic-predictor."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from goldens import Golden, assert_same, det_weights

from lienzo.clip.aesthetic import detect, load


@pytest.mark.golden("aesthetic_head*.safetensors")
def test_aesthetic_head(golden_path: Path) -> None:
    golden = Golden(golden_path)
    salt = re.search(r"salt '([^']+)'", golden.config["rule"])
    assert salt is not None
    shapes = {key: shape for key, (_, shape) in golden.config["state_dict"].items()}
    state = {key: torch.empty(shape) for key, shape in shapes.items()}
    assert detect(state)
    head = load(state)
    assert {key: list(value.shape) for key, value in head.state_dict().items()} == shapes
    det_weights(head, salt[1])
    embeds = F.normalize(golden.tensors["embedding"], dim=-1)
    assert_same(embeds, golden.tensors["normalized"], 1e-4)
    with torch.no_grad():
        assert_same(head(embeds), golden.tensors["score"], 1e-4)
