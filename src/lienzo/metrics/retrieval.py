"""How well scores find what belongs together: recall at k, ranks, top-k accuracy, average precision.

A row of scores is a query, a column a candidate. Texts that look for pictures give "image retrieval", the transposed
scores "text retrieval".
"""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.core.errors import BadInput


def recall_at_k(scores: Tensor, right: Tensor, k: int) -> Tensor:
    """Share of queries with a right candidate among their k best, (): CLIP's R@k.

    Args:
        scores: (Q, C).
        right: bool (Q, C), True where the candidate answers the query; several may.
        k: at least 1; above C it means all.

    Raises:
        BadInput: the shapes differ, or k is below 1.
    """
    _check(scores, right.shape)
    return right.bool().gather(1, _best(scores, k)).any(1).to(scores.dtype).mean()


def true_recall_at_k(scores: Tensor, right: Tensor, k: int) -> Tensor:
    """Mean share of a query's right candidates that are among its k best, (); queries without any do not count."""
    _check(scores, right.shape)
    right = right.bool()
    count = right.sum(1)
    found = right.gather(1, _best(scores, k)).sum(1)
    return (found[count > 0] / count[count > 0]).to(scores.dtype).mean()


def ranks(scores: Tensor, target: Tensor) -> Tensor:
    """The place of each query's own candidate, int64 (Q,), from 1; ties do not count against it.

    Args:
        scores: (Q, C).
        target: int64 (Q,), the column that is right.
    """
    _check_target(scores, target)
    own = scores.gather(1, target[:, None])
    return (scores > own).sum(1) + 1


def mean_reciprocal_rank(scores: Tensor, target: Tensor) -> Tensor:
    """Mean of 1/rank, (), in (0, 1]; arguments as in `ranks`."""
    return (1 / ranks(scores, target).to(scores.dtype)).mean()


def median_rank(scores: Tensor, target: Tensor) -> Tensor:
    """Median of the ranks, (); the lower of the two in the middle."""
    return ranks(scores, target).median().to(scores.dtype)


def top_k_accuracy(logits: Tensor, target: Tensor, k: int) -> Tensor:
    """Share of rows whose class is among the k best, (); k above the number of classes means all."""
    _check_target(logits, target)
    return (_best(logits, k) == target[:, None]).any(1).to(logits.dtype).mean()


def average_precision(scores: Tensor, right: Tensor) -> Tensor:
    """Average precision of each class, (C,): the mean of the precision at each right item; 0 for a class without.

    Args:
        scores: (N, C), how much item n is of class c.
        right: bool or 0/1, (N, C); an item may have several classes. Its mean over classes is the mAP.
    """
    _check(scores, right.shape)
    order = scores.argsort(dim=0, descending=True, stable=True)
    truth = right.bool().gather(0, order).to(torch.promote_types(scores.dtype, torch.float32))
    places = torch.arange(1, len(scores) + 1, device=scores.device)[:, None]
    precision = truth.cumsum(0) / places  # (N, C)
    return (precision * truth).sum(0) / truth.sum(0).clamp(min=1)


def pairs_matrix(target: Tensor, columns: int) -> Tensor:
    """Bool (Q, columns) that is True at each row's target (Q,): which candidate answers which query."""
    return target[:, None] == torch.arange(columns, device=target.device)


def _best(scores: Tensor, k: int) -> Tensor:
    if k < 1:
        raise BadInput(f"The k of a recall or an accuracy is at least 1; it was {k}.")
    return scores.topk(min(k, scores.shape[1]), dim=1).indices


def _check(scores: Tensor, shape: torch.Size) -> None:
    if scores.ndim != 2 or 0 in scores.shape or scores.shape != shape:
        raise BadInput(
            f"Scores and right answers have one shape (Q, C); these are {tuple(scores.shape)}, {tuple(shape)}."
        )


def _check_target(scores: Tensor, target: Tensor) -> None:
    if scores.ndim != 2 or 0 in scores.shape or target.shape != scores.shape[:1]:
        raise BadInput(f"Scores are (Q, C) and targets (Q,); these are {tuple(scores.shape)}, {tuple(target.shape)}.")
    if int(target.min()) < 0 or int(target.max()) >= scores.shape[1]:
        raise BadInput(f"Targets are columns of the scores, 0 to {scores.shape[1] - 1}.")
