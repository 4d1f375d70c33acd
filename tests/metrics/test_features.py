"""What features must be."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.features import FeatureSet, check_pair


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (torch.randn(5), "(N, D)"),
        (torch.zeros(5, 3, dtype=torch.int64), "decimal"),
        (torch.randn(5, 0), "(N, D)"),
        (torch.randn(1, 3), "there is 1"),
        (torch.randn(0, 3), "there are none"),
        (torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), "NaN"),
        (torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]), "infinity"),
    ],
)
def test_wrong_features_get_one_sentence(rows: torch.Tensor, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        FeatureSet(rows)
    assert says in str(caught.value)
    assert str(caught.value).endswith(".")
    assert ". " not in str(caught.value)


def test_logits_belong_to_the_same_pictures() -> None:
    with pytest.raises(BadInput, match="logits of 4 pictures but features of 5"):
        FeatureSet(torch.randn(5, 3), torch.randn(4, 10))
    with pytest.raises(BadInput, match="Logits must be finite"):
        FeatureSet(torch.randn(2, 3), torch.full((2, 3), torch.inf))


def test_sets_made_otherwise_are_not_compared() -> None:
    clean, tf = (FeatureSet(torch.randn(4, 3), made={"net": "inception", "resize": name}) for name in ("clean", "tf"))
    check_pair(clean, clean)
    with pytest.raises(BadInput, match="resize=clean, the other with resize=tf"):
        check_pair(clean, tf)
    with pytest.raises(BadInput, match="3 numbers a picture, the generated ones 2"):
        check_pair(clean, FeatureSet(torch.randn(4, 2), made=clean.made))
