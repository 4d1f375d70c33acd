"""The camera of a video: directions, centres and bounds."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.guidance.motion import Motion, moved


def dot(row: int, column: int, height: int = 21, width: int = 31) -> torch.Tensor:
    picture = torch.zeros(1, 3, height, width)
    picture[:, :, row, column] = 1
    return picture


def place(picture: torch.Tensor) -> tuple[int, int]:
    row, column = divmod(int(picture[0, 0].argmax()), picture.shape[-1])
    return row, column


@pytest.mark.parametrize(
    ("motion", "where"),
    [
        ((1, 0, 4, 0), (8, 24)), ((1, 0, 0, 3), (11, 20)), ((1, 90, 0, 0), (15, 17)), ((1, 180, 0, 0), (12, 10)),
        ((2, 0, 0, 0), (6, 25)), ((0.5, 0, 0, 0), None), ((1, -90, 0, 0), (5, 13)), ((2, 0, -3, 1), (7, 22)),
    ],
)  # fmt: skip
def test_a_dot_moves_where_it_should(motion: tuple[float, ...], where: tuple[int, int] | None) -> None:
    """A dot 5 right of and 2 above the centre (10, 15)."""
    seen = moved(dot(8, 20), *motion)
    assert seen.shape == (1, 3, 21, 31)
    if where is not None:
        assert place(seen) == where


def test_nothing_is_lost_without_motion_and_edges_are_mirrored() -> None:
    picture = torch.rand(2, 3, 12, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(moved(picture, 1, 0, 0, 0), picture)
    shifted = moved(picture, 1, 0, 2, 0)
    torch.testing.assert_close(shifted[..., 2:], picture[..., :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[..., :2], picture[..., :2].flip(-1), atol=1e-5, rtol=0)
    far = moved(picture, 0.1, 33, 40, -70)
    assert far.isfinite().all()
    assert far.min() >= 0
    assert far.max() <= 1


def test_each_frame_has_its_own_motion() -> None:
    motion = Motion.parse(zoom="0:(1), 4:(2)", shift_x="t")
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(motion.apply(picture, 2), moved(picture, 1.5, 0, 2, 0))
    assert Motion.parse().still(5)
    assert not motion.still(1)


@pytest.mark.parametrize("zoom", ["0", "-1", "11", "0:(1), 9:(0)", "1/(t-3)"])
def test_impossible_frames_are_told_beforehand(zoom: str) -> None:
    with pytest.raises(BadInput, match=r"at frame \d"):
        Motion.parse(zoom=zoom).check(20)
    Motion.parse(zoom="0").check(1)  # the first frame is not moved
