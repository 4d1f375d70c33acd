from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.errors import BadInput
from lienzo.data.order import epoch_order, rows_at


@given(
    count=st.integers(1, 40),
    seed=st.integers(0, 2**62),
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=12),
    epochs=st.integers(1, 4),
)
def test_any_split_into_batches_sees_every_item_once_an_epoch(count, seed, lengths, epochs) -> None:
    rows, start = [], 0
    while start < epochs * count:
        length = lengths[len(rows) % len(lengths)]
        rows.append(rows_at(count, start, length, seed))
        assert rows[-1].shape == (length,)
        start += length
    sequence = np.concatenate(rows)
    assert np.array_equal(sequence, rows_at(count, 0, start, seed))
    for epoch in range(epochs):
        assert Counter(sequence[epoch * count : (epoch + 1) * count].tolist()) == Counter(range(count))


@given(count=st.integers(1, 30), start=st.integers(0, 10**12), length=st.integers(0, 50), seed=st.integers(0, 9))
def test_a_range_does_not_depend_on_what_was_asked_before(count, start, length, seed) -> None:
    rows = rows_at(count, start, length, seed)
    assert rows.dtype == np.int64
    epoch_order.cache_clear()
    one_by_one = [rows_at(count, start + place, 1, seed)[0] for place in range(length)]
    assert rows.tolist() == one_by_one


def test_epochs_and_seeds_differ_and_nobody_can_change_an_order() -> None:
    orders = {tuple(epoch_order(50, epoch, seed)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(50, 0, 0)[0] = 1
    rows_at(50, 0, 5, 0)[0] = 99  # a copy
    assert 99 not in rows_at(50, 0, 50, 0)


def test_nothing_to_train_on() -> None:
    with pytest.raises(BadInput, match="no items"):
        rows_at(0, 0, 4, 0)
