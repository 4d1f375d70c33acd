import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.errors import BadInput
from lienzo.data.sets import Chosen, DataSet, split_held


def numbered(count: int, prefix: str = "") -> DataSet:
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)
    names = tuple(f"{prefix}{number}.png" for number in range(count))
    return DataSet(images, names, tuple((f"number {n}",) for n in range(count)), np.arange(count) % 3, ("a", "b", "c"))


def test_select_keeps_everything_together_also_twice() -> None:
    once = numbered(10).select([9, 4, 4, 7])
    twice = once.select(np.array([3, 0]))
    assert len(once) == 4
    assert once.size == 2
    assert once.images.shape == (4, 2, 2, 3)
    assert once.images[np.array([0, 3])][:, 0, 0, 0].tolist() == [9, 7]
    assert twice.images[np.array([1, 0])][:, 0, 0, 0].tolist() == [9, 7]
    assert twice.names == ("7.png", "9.png")
    assert twice.captions == (("number 7",), ("number 9",))
    assert twice.labels.tolist() == [1, 0]
    assert isinstance(twice.images, Chosen)
    assert isinstance(twice.images.pictures, np.ndarray)  # one look-up however often it is chosen from
    assert len(numbered(3).select([])) == 0


@given(count=st.integers(0, 60), share=st.floats(0, 0.999), prefix=st.text(max_size=3))
def test_every_item_is_on_one_side(count, share, prefix) -> None:
    data = numbered(count, prefix)
    train, held = split_held(data, share)
    assert sorted(train.names + held.names) == sorted(data.names)
    assert len(train) + len(held) == count
    if count >= 2:
        assert len(train) >= 1
        assert (len(held) >= 1) == (share > 0)
    for part in (train, held):
        assert [f"number {n}" for n in part.images[np.arange(len(part))][:, 0, 0, 0]] == [c[0] for c in part.captions]


def test_the_share_is_near_and_items_stay_when_others_are_added() -> None:
    few, many = numbered(200), numbered(256)
    for share in (0.05, 0.3):
        held, later = set(split_held(few, share)[1].names), set(split_held(many, share)[1].names)
        assert held == later & set(few.names)
    names = tuple(f"picture {number}" for number in range(20_000))
    held = split_held(DataSet(np.zeros((20_000, 1, 1, 3), np.uint8), names), 0.05)[1]
    assert 0.045 < len(held) / 20_000 < 0.055
    reverse = few.select(np.arange(200)[::-1])
    assert set(split_held(reverse, 0.3)[1].names) == set(split_held(few, 0.3)[1].names)


def test_bounds() -> None:
    assert len(split_held(numbered(40), 0)[1]) == 0
    assert len(split_held(numbered(1), 0.5)[0]) == 1 - len(split_held(numbered(1), 0.5)[1])
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(BadInput, match="share"):
            split_held(numbered(3), share)
