"""Poses: within their bounds, upright is nothing, and what moves in is white."""

from __future__ import annotations

import torch

from lienzo.diffusion.poses import SHIFT, SMALLEST, TURN, moved, random_poses


def drawing() -> torch.Tensor:
    picture = torch.ones(1, 3, 32, 32)
    picture[:, :2, 10:20, 8:28] = -1
    return picture


def test_random_poses_keep_their_bounds() -> None:
    poses = random_poses(500, torch.Generator().manual_seed(0))
    low, high = poses.amin(0), poses.amax(0)
    for i, (least, most) in enumerate(((-TURN, TURN), (SMALLEST, 1.0), (-SHIFT, SHIFT), (-SHIFT, SHIFT))):
        assert least <= low[i] < least + 0.1 * (most - least)
        assert most - 0.1 * (most - least) < high[i] <= most


def test_upright_changes_nothing() -> None:
    assert torch.allclose(moved(drawing(), torch.tensor([[0.0, 1.0, 0.0, 0.0]])), drawing(), atol=1e-5)


def test_a_shift_is_to_the_left_and_up() -> None:
    shifted = moved(drawing(), torch.tensor([[0.0, 1.0, 2 / 16, 4 / 16]]))
    assert torch.allclose(shifted[..., :28, :30], drawing()[..., 4:, 2:], atol=1e-5)
    assert (shifted[..., 28:, :] == 1).all()


def test_smaller_and_turned() -> None:
    ink = (1 - drawing()).sum()
    smaller = moved(drawing(), torch.tensor([[0.0, 0.5, 0.0, 0.0]]))
    assert abs((1 - smaller).sum() / ink - 0.25) < 0.02
    quarter = moved(drawing(), torch.tensor([[90.0, 1.0, 0.0, 0.0]]))
    turned = [torch.rot90(drawing(), k, (2, 3)) for k in (1, 3)]
    assert min(float((quarter - other).abs().mean()) for other in turned) < 0.01


def test_each_picture_has_its_own() -> None:
    poses = random_poses(3, torch.Generator().manual_seed(1))
    together = moved(drawing().expand(3, -1, -1, -1), poses)
    assert torch.allclose(together[1:2], moved(drawing(), poses[1:2]), atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=0.1)
