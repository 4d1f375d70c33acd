"""Weights as the CPU reads them fastest, for networks that are run many times without a gradient.

On a CPU every convolution and every larger linear layer first copies its weights into blocks. On small feature maps
with many channels that copy takes longer than the arithmetic: a 3x3 convolution of 1280 channels on 8x8 positions is
2 to 4 times as fast when it is done once, beforehand. Wide 3x3 convolutions in float32 that are not too large get
weights for `winograd`, which makes them about twice as fast again and takes more memory: a sixth more for the whole of
Stable Diffusion's U-Net.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.nn.gated import GatedGelu
from lienzo.nn.winograd import WinogradConv2d

NARROW = 320
"""Channels below which the transforms of a `WinogradConv2d` cost what its products save."""
LARGEST = {4: 4 * 2**20, 2: 12 * 2**20}
"""Weights up to which a 3x3 convolution is computed in tiles of 4 or 2; on larger ones the memory would be felt."""


class PackedLinear(nn.Module):
    """A linear layer, or a 1x1 convolution, whose weight is packed. Where a gradient is asked for it is unpacked."""

    def __init__(self, layer: nn.Linear | nn.Conv2d):
        super().__init__()
        self.pointwise = isinstance(layer, nn.Conv2d)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().flatten(1), None)
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., D), or (B, C, H, W) to (B, D, H, W) where it stands for a convolution."""
        if self.pointwise:
            return self._linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._linear(x)

    def _linear(self, x: Tensor) -> Tensor:
        if _needs_gradient(x):
            return F.linear(x, self.weight.to_dense(), self.bias)
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.weight, self.bias, "none", [], "")


class PackedGatedGelu(nn.Module):
    """A `GatedGelu` whose two halves are packed apart; without a gradient the GELU and the product cost no pass."""

    def __init__(self, layer: GatedGelu):
        super().__init__()
        halves = zip(layer.proj.weight.detach().chunk(2), layer.proj.bias.detach().chunk(2), strict=True)
        (self.value, self.value_bias), (self.gate, self.gate_bias) = (
            (torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None), bias) for weight, bias in halves
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) to (..., hidden)."""
        if _needs_gradient(x):
            gate = F.gelu(F.linear(x, self.gate.to_dense(), self.gate_bias))
            return F.linear(x, self.value.to_dense(), self.value_bias) * gate
        x = x.contiguous()
        gate = torch.ops.mkldnn._linear_pointwise(x, self.gate, self.gate_bias, "gelu", [], "none")
        return torch.ops.mkldnn._linear_pointwise.binary(x, gate, self.value, self.value_bias, "mul")


class PackedConv2d(nn.Module):
    """A convolution whose weight is packed; its result has channels last in memory."""

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        assert not isinstance(layer.padding, str)
        self.padding, self.stride, self.dilation = list(layer.padding), list(layer.stride), list(layer.dilation)
        self.groups = layer.groups
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            layer.weight.detach(), self.padding, self.stride, self.dilation, self.groups, None
        )
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H', W')."""
        if _needs_gradient(x):
            weight = self.weight.to_dense()
            return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups, "none", [], ""
        )


def pack(part: nn.Module) -> bool:
    """Pack the linear layers and convolutions inside `part`, in place and for good, where this is possible.

    The packed weights stand instead of the others. They are no parameters: the part can afterwards be neither trained,
    saved, converted to another dtype nor moved to another device. Gradients with respect to its inputs remain possible,
    by unpacking each weight when it is needed.

    Returns:
        Whether it was done: False, and nothing has changed, where weights are not on the CPU or in a dtype that it
        has no kernels for (it has them for float32, and for bfloat16 on some processors).
    """
    if not all(_packable(parameter) for parameter in part.parameters()):
        return False
    _pack_children(part)
    return True


def _pack_children(module: nn.Module) -> None:
    for name, layer in list(module.named_children()):
        packed = _packed(layer)
        if packed is None:
            _pack_children(layer)
        else:
            setattr(module, name, packed)


def _packable(parameter: Tensor) -> bool:
    if parameter.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if parameter.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return parameter.dtype == torch.float32


def _packed(layer: nn.Module) -> nn.Module | None:
    """The packed form of a layer; None where there is none, or where hooks are tied to the layer."""
    if layer._forward_pre_hooks or layer._forward_hooks:
        return None
    if type(layer) is nn.Linear:
        return PackedLinear(layer)
    if type(layer) is GatedGelu:
        return PackedGatedGelu(layer)
    if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    plain = (*layer.stride, *layer.dilation, layer.groups) == (1,) * 5 and not any(layer.padding)
    if tile := _winograd_tile(layer):
        return WinogradConv2d(layer, tile)
    # the packed order of a 1x1 convolution depends on the size of the features, that of a linear layer does not
    return PackedLinear(layer) if layer.kernel_size == (1, 1) and plain else PackedConv2d(layer)


def _winograd_tile(layer: nn.Conv2d) -> int:
    """Side of the tiles in which a convolution is best computed; 0 where it is best computed directly."""
    form = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    plain = form == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and layer.weight.dtype == torch.float32
    if not plain or min(layer.in_channels, layer.out_channels) < NARROW:
        return 0
    return next((tile for tile, largest in LARGEST.items() if layer.weight.numel() <= largest), 0)


def _needs_gradient(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad
