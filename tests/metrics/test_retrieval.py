"""Retrieval by scores small enough to read."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.retrieval import (
    average_precision,
    mean_reciprocal_rank,
    median_rank,
    pairs_matrix,
    ranks,
    recall_at_k,
    top_k_accuracy,
    true_recall_at_k,
)

SCORES = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.7, 0.6], [0.3, 0.2, 0.1]])
TARGET = torch.tensor([0, 1, 2])  # ranks 1, 2, 3


def test_recall_counts_queries_with_at_least_one_answer() -> None:
    right = pairs_matrix(TARGET, 3)
    assert [recall_at_k(SCORES, right, k).item() for k in (1, 2, 3, 99)] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    several = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 1]]).bool()
    assert recall_at_k(SCORES, several, 2).item() == pytest.approx(2 / 3)
    assert true_recall_at_k(SCORES, several, 2).item() == pytest.approx(0.5)  # half of each; the middle has none


def test_ranks() -> None:
    assert ranks(SCORES, TARGET).tolist() == [1, 2, 3]
    assert mean_reciprocal_rank(SCORES, TARGET).item() == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert median_rank(SCORES, TARGET).item() == 2
    assert ranks(torch.ones(2, 4), torch.tensor([0, 3])).tolist() == [1, 1]


def test_accuracy() -> None:
    assert [top_k_accuracy(SCORES, TARGET, k).item() for k in (1, 2, 5)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_average_precision() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    right = torch.tensor([[1, 0], [0, 0], [1, 0], [0, 0]])
    assert average_precision(scores, right).tolist() == pytest.approx([(1 + 2 / 3) / 2, 0])


def test_wrong_input() -> None:
    with pytest.raises(BadInput, match=r"one shape \(Q, C\)"):
        recall_at_k(SCORES, torch.ones(2, 3).bool(), 1)
    with pytest.raises(BadInput, match="at least 1; it was 0"):
        recall_at_k(SCORES, pairs_matrix(TARGET, 3), 0)
    with pytest.raises(BadInput, match="columns of the scores, 0 to 2"):
        top_k_accuracy(SCORES, torch.tensor([0, 1, 3]), 1)
    with pytest.raises(BadInput, match=r"targets \(Q,\)"):
        median_rank(SCORES, TARGET[:2])
    with pytest.raises(BadInput, match="one shape"):
        average_precision(SCORES[:0], SCORES[:0])
