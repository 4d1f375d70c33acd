"""Group normalisation that never computes its statistics in half precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput


class GroupNorm32(nn.GroupNorm):
    """Group normalisation computed in float32 (float64 stays float64), returned in the dtype of its input.

    Args:
        channels: number of channels, a multiple of `groups`.
        groups: number of groups.
        eps: 1e-5 in the ADM family, 1e-6 in the VQGAN and Stable Diffusion autoencoders.

    Raises:
        BadInput: `channels` is not a multiple of `groups`.
    """

    def __init__(self, channels: int, groups: int = 32, eps: float = 1e-5):
        if channels % groups:
            raise BadInput(
                f"A layer of {channels} channels cannot be normalised in {groups} groups; "
                f"make its width a multiple of {groups}."
            )
        super().__init__(groups, channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape and dtype."""
        wide = x if x.dtype == torch.float64 else x.float()
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        return F.group_norm(wide, self.num_groups, weight, bias, self.eps).to(x.dtype)
