"""Window attention's masks and positions."""

from __future__ import annotations

import torch

from lienzo.upscaling.swin import BlockGroup, BlockOptions, relative_position_index, shift_mask


def test_masks_join_only_true_neighbours() -> None:
    """Two pixels of a shifted window may meet exactly if the shift did not carry one of them round the border."""
    height, width, window, shift = 12, 8, 4, 2
    mask = shift_mask(height, width, window, shift)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    wrapped = torch.stack([y + shift >= height, x + shift >= width])  # places before the shift, beyond the border
    wrapped = wrapped.view(2, height // window, window, width // window, window).transpose(2, 3)
    wrapped = wrapped.reshape(2, -1, window * window)
    apart = (wrapped[:, :, :, None] != wrapped[:, :, None, :]).any(0)
    assert torch.equal(mask, apart * -100.0)


def test_kept_masks_do_not_carry_the_mode_of_their_first_use() -> None:
    shift_mask.cache_clear()
    with torch.inference_mode():
        assert not shift_mask(8, 8, 4, 2).is_inference()
    with torch.device("meta"):
        assert shift_mask(12, 8, 4, 2).device.type == "cpu"


def test_equal_offsets_share_a_bias() -> None:
    index = relative_position_index(3)
    assert index.unique().tolist() == list(range(25))
    assert index[0, 4] == index[4, 8] == index[1, 5]  # one down, one right
    assert index[4, 0] != index[0, 4]


def test_a_shifted_block_sees_over_the_window_border_but_not_over_the_picture_border() -> None:
    torch.manual_seed(0)
    options = BlockOptions(8, (16, 16), 4, 2.0, True, None, 0.0, 0.0, "1conv")
    block = BlockGroup(options, 2, [0.0, 0.0], False).eval().blocks[1]
    x = torch.randn(1, 16, 16, 8, requires_grad=True)
    block(x)[0, 4, 4].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(-1) > 0
    assert seen[2:6, 2:6].all()  # the window of 4, shifted by 2
    assert seen.sum() == 16
    x.grad = None
    block(x)[0, 0, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().sum(-1) > 1e-12).sum() == 4  # a quarter window in the corner
