"""The contrastive loss; OpenAI's number is in tests/golden."""

from __future__ import annotations

import math

import pytest
import torch

from lienzo.clip.losses import contrastive_loss
from lienzo.core.errors import BadInput


def test_known_values() -> None:
    scale = torch.tensor(math.log(5.0))
    # Right pairs have cosine 1, wrong ones 0; the lengths of the embeddings do not matter.
    loss = contrastive_loss(2 * torch.eye(4), 7 * torch.eye(4), scale)
    assert loss.item() == pytest.approx(math.log(1 + 3 * math.exp(-5)), rel=1e-5)
    same = contrastive_loss(torch.ones(4, 3), torch.ones(4, 3), scale)
    assert same.item() == pytest.approx(math.log(4), rel=1e-5)


def test_weight_of_the_directions() -> None:
    torch.manual_seed(0)
    a, b, scale = torch.randn(5, 8), torch.randn(5, 8), torch.tensor(1.0)
    i2t, t2i = contrastive_loss(a, b, scale, 1.0), contrastive_loss(a, b, scale, 0.0)
    assert i2t != t2i
    assert torch.equal(t2i, contrastive_loss(b, a, scale, 1.0))
    assert torch.allclose(contrastive_loss(a, b, scale, 0.25), 0.25 * i2t + 0.75 * t2i)


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="needs its text"):
        contrastive_loss(torch.ones(2, 3), torch.ones(3, 3), torch.tensor(0.0))
    with pytest.raises(BadInput, match=r"1\.5"):
        contrastive_loss(torch.ones(2, 3), torch.ones(2, 3), torch.tensor(0.0), 1.5)
