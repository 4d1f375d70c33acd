"""The Inception-v3 of FID: the network whose features the published figures are made of.

It is the torchvision layout with 1008 classes, without the auxiliary head, and with the pooling of the TensorFlow
graph of 2015-12-05. Its weights are a separate download of the user's: `pt_inception-2015-12-05-6726825d.pth`, which
pytorch-fid and torch-fidelity share.

Reference: Szegedy et al. 2016, arXiv 1512.00567; Heusel et al. 2017 (FID), arXiv 1706.08500.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.core.errors import BadInput, BadWeights
from lienzo.metrics.nets.feature_net import FeatureNet
from lienzo.metrics.nets.resizing import RESIZES
from lienzo.nn.loading import fill_exactly
from lienzo.weights.models import load_model
from lienzo.weights.store import models_folder, resolve, sha256

FILE = "pt_inception-2015-12-05-6726825d.pth"
TAPS = (64, 192, 768, 2048)
"""Widths of the four places where features are taken: after the two first poolings, before and after the last block."""


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm and ReLU; one with a stride shrinks without padding."""

    def __init__(
        self, inside: int, outside: int, kernel: int | tuple[int, int], stride: int = 1, *, padded: bool = True
    ):
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inside, outside, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def average(x: Tensor) -> Tensor:
    """3 x 3 means that do not count the border, as TensorFlow's."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class InceptionA(nn.Module):
    """35 x 35: 1x1, 5x5, double 3x3 and pooled branches."""

    def __init__(self, inside: int, pooled: int):
        super().__init__()
        self.branch1x1 = ConvNorm(inside, 64, 1)
        self.branch5x5_1 = ConvNorm(inside, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5)
        self.branch3x3dbl_1 = ConvNorm(inside, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3)
        self.branch_pool = ConvNorm(inside, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(average(x))], 1)


class InceptionB(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, inside: int):
        super().__init__()
        self.branch3x3 = ConvNorm(inside, 384, 3, 2)
        self.branch3x3dbl_1 = ConvNorm(inside, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    """17 x 17 with 7x7 convolutions taken apart into rows and columns of `middle` channels."""

    def __init__(self, inside: int, middle: int):
        super().__init__()
        self.branch1x1 = ConvNorm(inside, 192, 1)
        self.branch7x7_1 = ConvNorm(inside, middle, 1)
        self.branch7x7_2 = ConvNorm(middle, middle, (1, 7))
        self.branch7x7_3 = ConvNorm(middle, 192, (7, 1))
        self.branch7x7dbl_1 = ConvNorm(inside, middle, 1)
        self.branch7x7dbl_2 = ConvNorm(middle, middle, (7, 1))
        self.branch7x7dbl_3 = ConvNorm(middle, middle, (1, 7))
        self.branch7x7dbl_4 = ConvNorm(middle, middle, (7, 1))
        self.branch7x7dbl_5 = ConvNorm(middle, 192, (1, 7))
        self.branch_pool = ConvNorm(inside, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(average(x))], 1)


class InceptionD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, inside: int):
        super().__init__()
        self.branch3x3_1 = ConvNorm(inside, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, 2)
        self.branch7x7x3_1 = ConvNorm(inside, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    """8 x 8 with 3x3 convolutions that fork into a row and a column.

    Args:
        inside: channels in.
        max_pooled: the pooled branch takes maxima, an oddity of the original graph's last block.
    """

    def __init__(self, inside: int, max_pooled: bool):
        super().__init__()
        self.max_pooled = max_pooled
        self.branch1x1 = ConvNorm(inside, 320, 1)
        self.branch3x3_1 = ConvNorm(inside, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvNorm(inside, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1))
        self.branch_pool = ConvNorm(inside, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        forks = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        forks += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        pooled = F.max_pool2d(x, 3, 1, 1) if self.max_pooled else average(x)
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(pooled)], 1)


class Inception(nn.Module):
    """FID's Inception-v3, for pictures (B, 3, 299, 299) in [-1, 1].

    Args:
        classes: of the last layer; the published weights have 1008.
    """

    def __init__(self, *, classes: int = 1008):
        super().__init__()
        self.config: dict[str, Any] = {"classes": classes}
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3, padded=False)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, False)
        self.Mixed_7c = InceptionE(2048, True)
        self.fc = nn.Linear(2048, classes)

    def taps(self, x: Tensor, wanted: Collection[int] = TAPS) -> dict[int, Tensor]:
        """The feature maps of the wanted widths, (B, width, h, w); nothing is computed beyond the last.

        Raises:
            BadInput: a width that is not among `TAPS`.
        """
        unknown = sorted(set(wanted) - set(TAPS))
        if unknown or not wanted:
            raise BadInput(f"Inception has features of 64, 192, 768 and 2048 numbers, not {unknown or 'none'}.")
        found: dict[int, Tensor] = {}
        for width, stage in zip(TAPS, (self._to_64, self._to_192, self._to_768, self._to_2048)):
            x = stage(x)
            if width in wanted:
                found[width] = x
            if width == max(wanted):
                break
        return found

    def features(self, x: Tensor, tap: int = 2048) -> Tensor:
        """The mean over places at one tap, (B, tap)."""
        return self.taps(x, (tap,))[tap].mean((2, 3))

    def logits(self, features: Tensor, *, biased: bool = True) -> Tensor:
        """Class logits (B, classes) of features (B, 2048); without bias as the inception score takes them."""
        return F.linear(features, self.fc.weight, self.fc.bias if biased else None)

    def forward(self, x: Tensor) -> Tensor:
        """Class logits (B, classes)."""
        return self.logits(self.features(x))

    def _to_64(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)

    def _to_192(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)

    def _to_768(self, x: Tensor) -> Tensor:
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        return self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))

    def _to_2048(self, x: Tensor) -> Tensor:
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))


def manifest(classes: int = 1008) -> dict[str, tuple[int, ...]]:
    """Key -> shape of each of the 566 entries that a file of these weights has."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Inception(classes=classes).state_dict().items()}


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of an Inception-v3 in torchvision's layout (of FID or not; `load` tells)."""
    return {"Conv2d_1a_3x3.conv.weight", "Mixed_6e.branch7x7dbl_5.conv.weight", "fc.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Inception:
    """The network in evaluation mode.

    Raises:
        BadWeights: keys or shapes are not those of FID's Inception; the sentence names the first.
    """
    if any(key.startswith("AuxLogits.") for key in state):
        raise BadWeights(f"This is torchvision's Inception, which gives other figures; FID's is in {FILE}.")
    classes = dict(config or {}).get("classes")
    if classes is None:
        classes = len(state["fc.weight"]) if "fc.weight" in state and state["fc.weight"].ndim == 2 else 1008
    with torch.device("meta"):
        model = Inception(classes=classes)
    # Old versions of torch saved no batch counters, which evaluation never reads.
    counters = {key: torch.zeros((), dtype=torch.long) for key in model.state_dict() if key.endswith("_tracked")}
    return fill_exactly(model, {**counters, **state}, "FID's Inception").eval().requires_grad_(False)


def open_inception(
    source: str | Path | None, device: str | torch.device, *, resize: str = "pytorch-fid", tap: int = 2048
) -> FeatureNet:
    """FID's Inception as a feature net.

    Args:
        source: the weight file, by name or path; None looks for `FILE` in the user's folder of models.
        device: where it runs.
        resize: a name of `RESIZES`.
        tap: 64, 192, 768 or 2048. Only the last has logits, given without bias as torch-fidelity's score takes them.

    Raises:
        BadInput: there is no such file, resizing or tap.
        BadWeights: the file is not FID's Inception.
    """
    if tap not in TAPS:
        raise BadInput(f"Inception has features of 64, 192, 768 and 2048 numbers, not {tap}.")
    prepare = RESIZES.load(resize)
    path = _file(source)
    model = load_model(path, device)
    if not isinstance(model, Inception):
        raise BadWeights(f"The file '{path.name}' holds another network than FID's Inception.")
    last = tap == TAPS[-1]

    def embed(x: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = model.features(x, tap)
        return rows, model.logits(rows, biased=False) if last else None

    tag = "inception-v3" if last else f"inception-v3.{tap}"
    return FeatureNet(tag, sha256(path)[:8], resize, tap, last, prepare, embed, torch.device(device))


def open_tf(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """As torch-fidelity: TensorFlow's resizing."""
    return open_inception(source, device, resize="tf")


def open_clean(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """As clean-fid: antialiased."""
    return open_inception(source, device, resize="clean")


def open_legacy_tensorflow(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """As clean-fid's mode `legacy_tensorflow`."""
    return open_inception(source, device, resize="legacy_tensorflow")


def open_legacy_pytorch(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """As clean-fid's mode `legacy_pytorch`."""
    return open_inception(source, device, resize="legacy_pytorch")


def _file(source: str | Path | None) -> Path:
    if source is not None:
        return resolve(source)
    path = models_folder() / FILE
    if not path.is_file():
        raise BadInput(
            f"FID's Inception does not come with Lienzo; give the path of {FILE}, or put it into {models_folder()}."
        )
    return path
