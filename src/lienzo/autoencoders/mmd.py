"""Maximum mean discrepancy between two samples, as Wasserstein and Info autoencoders compare latents with the prior.

Gretton et al. 2012; kernels of Tolstikhin et al. 2017 (arXiv 1711.01558).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["imq", "rbf"]
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def kernel(
    a: Tensor, b: Tensor, kind: Kernel = "imq", bandwidth: float = 1.0, scales: Sequence[float] = SCALES
) -> Tensor:
    """Similarity of every row of a (N, D) with every row of b (M, D): (N, M).

    With C = 2 D bandwidth^2, ``rbf`` is exp(-|a - b|^2 / C), and ``imq`` the sum over scales s of
    s C / (s C + |a - b|^2).
    """
    squares = (a[:, None] - b).square().sum(-1)  # not by products: that loses small distances
    width = 2.0 * a.shape[1] * bandwidth**2
    if kind == "rbf":
        return torch.exp(-squares / width)
    return torch.stack([scale * width / (scale * width + squares) for scale in scales]).sum(0)


def mmd(
    z: Tensor, prior: Tensor, kind: Kernel = "imq", bandwidth: float = 1.0, scales: Sequence[float] = SCALES
) -> Tensor:
    """Squared discrepancy of latents z (N, D) from draws of the prior (N, D), ().

    Within each sample a row is not compared with itself; across them all N^2 pairs count. It may be negative.
    """
    count = len(z)

    def within(rows: Tensor) -> Tensor:
        each = kernel(rows, rows, kind, bandwidth, scales)
        return (each.sum() - each.diagonal().sum()) / max(count * (count - 1), 1)

    return within(z) + within(prior) - 2 * kernel(z, prior, kind, bandwidth, scales).sum() / count**2
