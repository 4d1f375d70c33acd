"""CLIP scores of vectors whose cosines are known."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.clip_score import clip_score, clip_score_100, reference_clip_score

IMAGES = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
TEXTS = torch.tensor([[4.0, 3.0], [0.0, -1.0], [0.5, 0.0]])  # cosines 0.8, -1, 1


def test_scalings() -> None:
    assert clip_score(IMAGES, TEXTS).tolist() == pytest.approx([2.0, 0.0, 2.5])
    assert clip_score(IMAGES, TEXTS, weight=1).tolist() == pytest.approx([0.8, 0.0, 1.0])
    assert clip_score_100(IMAGES, TEXTS).item() == pytest.approx(100 * 0.8 / 3)  # the negative cosine counts
    assert clip_score_100(IMAGES[1:2], TEXTS[1:2]).item() == 0


def test_references() -> None:
    references = torch.tensor([[[0.0, 1.0], [4.0, 3.0]], [[0.0, -1.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]])
    # best cosines of the texts: 1, 1, 0; scores 2, 0, 2.5
    assert reference_clip_score(IMAGES, TEXTS, references).tolist() == pytest.approx([4 / 3, 0, 0])


def test_wrong_input() -> None:
    with pytest.raises(BadInput, match=r"as many picture as text embeddings.*\(3, 2\) and \(2, 2\)"):
        clip_score(IMAGES, TEXTS[:2])
    with pytest.raises(BadInput, match="as many"):
        clip_score_100(IMAGES[:0], TEXTS[:0])
    with pytest.raises(BadInput, match=r"References come as \(N, R, D\) for 3 pictures"):
        reference_clip_score(IMAGES, TEXTS, TEXTS)
