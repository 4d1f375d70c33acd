"""Textures that can be laid side by side: convolutions that see the opposite edge beyond an edge.

Attention and norms know no place, so that only what pads with zeros has to change. A module is left as it is; what
enters it is continued around the edge by a few positions, and these are cut from what comes out.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lienzo.autoencoders import encoder_decoder

Axes = Literal["x", "y", "both"]
MARGIN = 2  # positions; even, so that halvings keep their places
_DIMENSIONS = {"x": (3,), "y": (2,), "both": (2, 3)}
_RESAMPLING = (encoder_decoder.Upsample, encoder_decoder.Downsample)


def make_seamless(network: nn.Module, axes: Axes) -> nn.Module:
    """Let a network of 2-D convolutions draw what repeats along an axis, in place.

    Pictures rolled along the axis by a multiple of the network's total halving then give results rolled alike.

    Args:
        network: a `LdmUnet`, or an autoencoder of latent diffusion.
        axes: ``x`` repeats from left to right, ``y`` from top to bottom, ``both`` does either.

    Returns:
        The network itself.
    """
    for module in network.modules():
        padded = isinstance(module, nn.Conv2d) and any(side != 0 for side in module.padding)
        if padded or isinstance(module, _RESAMPLING):
            module.register_forward_pre_hook(_continued(_DIMENSIONS[axes]))
            module.register_forward_hook(_cut(_DIMENSIONS[axes]))
    return network


def _continued(dimensions: tuple[int, ...]) -> Any:
    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0]
        for dim in dimensions:
            size = x.shape[dim]
            places = torch.arange(-MARGIN, size + MARGIN, device=x.device) % size
            x = x.index_select(dim, places)
        return (x, *inputs[1:])

    return before


def _cut(dimensions: tuple[int, ...]) -> Any:
    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        for dim in dimensions:
            margin = MARGIN * output.shape[dim] // inputs[0].shape[dim]
            output = output.narrow(dim, margin, output.shape[dim] - 2 * margin)
        return output

    return after
