from __future__ import annotations

import torch

from lienzo.guidance.ops import lanczos_kernel, replace_grad, resample


def test_replace_grad_sums_over_what_was_broadcast() -> None:
    path = torch.zeros(3, requires_grad=True)
    value = torch.arange(6.0).view(2, 3)
    out = replace_grad(value, path)
    assert torch.equal(out, value)
    out.sum().backward()
    assert path.grad is not None
    assert path.grad.tolist() == [2, 2, 2]


def test_resampling_keeps_a_flat_picture_flat() -> None:
    flat = torch.full((1, 3, 31, 17), 0.3)
    for size in ((5, 6), (40, 9), (31, 17)):
        torch.testing.assert_close(resample(flat, size), torch.full((1, 3, *size), 0.3))


def test_lanczos_kernel_is_a_symmetric_average() -> None:
    for ratio in (0.9, 0.5, 0.13):
        kernel = lanczos_kernel(ratio)
        torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))
        torch.testing.assert_close(kernel, kernel.flip(0))
        assert len(kernel) % 2 == 1


def test_shrinking_does_not_alias() -> None:
    """Stripes of one pixel have the mean of grey; plain bicubic would show stripes of its own."""
    stripes = (torch.arange(60) % 2).float().expand(1, 3, 60, 60)
    small = resample(stripes, (7, 7))
    assert (small - 0.5).abs().max() < 0.02
