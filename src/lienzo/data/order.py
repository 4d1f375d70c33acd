"""The order in which a training run sees its items: epoch after epoch, each shuffled by the seed alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.seeds import derived_seed


@lru_cache(maxsize=4)
def epoch_order(count: int, epoch: int, seed: int) -> np.ndarray:
    """The permutation of `count` items in an epoch: (count,) int64, read only."""
    order = np.random.default_rng(derived_seed(seed, "epoch", epoch)).permutation(count)
    order.flags.writeable = False
    return order


def rows_at(count: int, start: int, length: int, seed: int) -> np.ndarray:
    """Rows of items `start` to `start + length` of the endless sequence of shuffled epochs: (length,) int64.

    Any split of the sequence into batches, on any number of processes, sees every item once an epoch.

    Raises:
        BadInput: there are no items.
    """
    if count < 1:
        raise BadInput("There are no items to train on.")
    parts = [np.empty(0, np.int64)]
    while length > 0:
        epoch, offset = divmod(start, count)
        part = epoch_order(count, epoch, seed)[offset : offset + length]
        parts.append(part)
        start, length = start + len(part), length - len(part)
    return np.concatenate(parts)
