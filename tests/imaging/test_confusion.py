"""The matrix shows shares of each row."""

from __future__ import annotations

import numpy as np
import pytest

from lienzo.core.errors import BadInput
from lienzo.imaging.confusion import confusion_picture


def test_full_rows_are_dark() -> None:
    right = confusion_picture(np.diag([9, 1]), ["cat", "dog"])
    assert (right == (46, 125, 66)).all(-1).sum() > 2 * 500
    wrong = confusion_picture(np.array([[0, 9], [1, 0]]), ["cat", "dog"])
    assert (wrong == (176, 58, 46)).all(-1).sum() > 2 * 500
    empty = confusion_picture(np.zeros((2, 2), int), ["cat", "dog"])
    assert not (empty == (46, 125, 66)).all(-1).any()


def test_hostile_names_and_sizes() -> None:
    assert confusion_picture(np.eye(40, dtype=int), [f"\x1b\n{'x' * 500}{i}" for i in range(40)]).shape[0] < 2000
    with pytest.raises(BadInput, match="1 to 200 classes"):
        confusion_picture(np.zeros((0, 0), int), [])
    with pytest.raises(BadInput):
        confusion_picture(np.zeros((2, 3), int), ["a", "b"])
