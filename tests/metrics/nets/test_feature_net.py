"""A feature net keeps the order of pictures of any sizes, in batches of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.data.sets import Chosen
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.nets import FEATURE_NETS, open_feature_net
from lienzo.metrics.nets.feature_net import FeatureNet


def prepare(pictures: Tensor) -> Tensor:
    assert pictures.dtype == torch.uint8
    return pictures.float().mean((2, 3))  # (B, 3)


def embed(x: Tensor) -> tuple[Tensor, Tensor | None]:
    assert not torch.is_grad_enabled()
    return x.double(), -x


NET = FeatureNet("mean", "0123abcd", "none", 3, True, prepare, embed, torch.device("cpu"))
PICTURES = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_rows_are_in_order(batch_size: int) -> None:
    found = NET(PICTURES, batch_size=batch_size)
    np.testing.assert_allclose(found.rows, PICTURES.mean((1, 2)), rtol=1e-5)
    assert found.logits is not None
    assert torch.equal(found.logits, -found.rows)
    assert found.rows.dtype == torch.float32


def test_pictures_of_different_sizes() -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((4, 5), (9, 2), (4, 5), (1, 1), (9, 2))]
    found = NET(pictures, batch_size=4)
    np.testing.assert_allclose(found.rows, [p.mean((0, 1)) for p in pictures], rtol=1e-5)
    turned = NET([np.rot90(p) for p in pictures])  # of negative strides
    np.testing.assert_allclose(turned.rows, found.rows, rtol=1e-5)


def test_pictures_read_by_rows() -> None:
    rows = np.array([6, 0, 3])
    assert torch.equal(NET(Chosen(PICTURES, rows), batch_size=2).rows, NET(PICTURES[rows]).rows)


def test_it_fits_what_the_metrics_take() -> None:
    found = NET(PICTURES)
    features = FeatureSet(found.rows, found.logits, NET.made)
    assert features.made == {"net": "mean", "sha": "0123abcd", "resize": "none"}


def test_wrong_input() -> None:
    with pytest.raises(BadInput, match="no pictures"):
        NET(PICTURES[:0])
    with pytest.raises(BadInput, match="no pictures"):
        NET([])
    with pytest.raises(BadInput, match=r"8-bit numbers \(uint8 arrays\); this one is float64"):
        NET(PICTURES / 255)
    with pytest.raises(BadInput, match="this one is list"):
        NET([[1, 2]])  # type: ignore[list-item]
    with pytest.raises(BadInput, match=r"RGB pictures \(H, W, 3\); this one is \(4, 5, 4\)"):
        NET([np.zeros((4, 5, 4), np.uint8)])
    with pytest.raises(BadInput, match=r"this one is \(5, 3\)"):
        NET(PICTURES[0])
    with pytest.raises(BadInput, match="at least 1 picture; 0"):
        NET(PICTURES, batch_size=0)
    with pytest.raises(BadInput, match="no feature net 'inseption'; did you mean 'inception'"):
        open_feature_net("inseption")
    assert all(callable(FEATURE_NETS.load(name)) for name in FEATURE_NETS)
