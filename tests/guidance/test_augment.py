from __future__ import annotations

import torch

from lienzo.guidance.augment import Augment, affine_maps, flip_maps, grayscale, perspective_maps, warp
from lienzo.guidance.draws import picture_generators

PICTURES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_maps_do_what_they_say() -> None:
    yes, no = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    torch.testing.assert_close(warp(PICTURES, flip_maps(no)), PICTURES)
    torch.testing.assert_close(warp(PICTURES, flip_maps(yes)), PICTURES.flip(-1))
    quarter = affine_maps(torch.full((4,), 90.0), torch.zeros(4, 2))
    turned = warp(PICTURES, quarter)
    torch.testing.assert_close(turned, PICTURES.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    right = affine_maps(torch.zeros(4), torch.tensor([[0.25, 0.0]]).expand(4, 2))
    shifted = warp(PICTURES, right)
    torch.testing.assert_close(shifted[..., 4:], PICTURES[..., :-4], atol=1e-5, rtol=0)
    assert shifted[..., :4].abs().max() < 1e-4, "outside is black"
    torch.testing.assert_close(warp(PICTURES, perspective_maps(torch.zeros(4, 4, 2))), PICTURES, atol=1e-5, rtol=0)


def test_perspective_moves_the_corners_inward() -> None:
    inward = torch.rand(5, 4, 2, generator=torch.Generator().manual_seed(1)) * 0.4
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).expand(5, 4, 2)
    seen = torch.cat([corners * (1 - inward), torch.ones(5, 4, 1)], -1)
    came = seen @ perspective_maps(inward).transpose(1, 2)
    torch.testing.assert_close(came[..., :2] / came[..., 2:], corners, atol=1e-4, rtol=0)


def test_grayscale_only_where_asked() -> None:
    some = grayscale(PICTURES, torch.tensor([True, False, True, False]))
    torch.testing.assert_close(some[1::2], PICTURES[1::2])
    torch.testing.assert_close(some[0, 0], some[0, 2])


def test_augment_is_per_picture_and_differentiable() -> None:
    augment = Augment()
    cuts = PICTURES.repeat_interleave(3, 0).requires_grad_()  # 4 pictures, 3 cutouts each
    changed = augment(cuts, 4, picture_generators([5, 6, 7, 8]))
    alone = augment(cuts[6:9], 1, picture_generators([7]))
    torch.testing.assert_close(changed[6:9], alone)
    assert not torch.allclose(changed[6], changed[7]), "each cutout in its own way"
    (grad,) = torch.autograd.grad(changed.sum(), cuts)
    assert (grad.flatten(1).abs().sum(1) > 0).all()


def test_shares_are_kept() -> None:
    flat = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(2000, 3, 4, 4)
    augment = Augment(flip=0, degrees=0, translate=0, perspective=0, noise=0)
    out = augment(flat, 1, torch.Generator().manual_seed(0))
    gray = (out[:, 0] - out[:, 1]).abs().amax((1, 2)) < 1e-6
    assert 0.12 < gray.float().mean() < 0.18
