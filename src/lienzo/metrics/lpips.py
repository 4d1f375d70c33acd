"""LPIPS: how different two pictures look, as the distance between a network's features.

LPIPS proper (`LPIPS`, versions 0.0 and 0.1) needs two files of the user's: a backbone of torchvision and the linear
heads of the `lpips` package; or one file of both. `FeatureDistance` does the same with the features of a CLIP that
comes with Lienzo and equal weights. It needs no file, but it is another measure and is named `lpips-like[net=...]`.

Reference: Zhang et al. 2018, arXiv 1801.03924.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.clip.compact import CompactClip
from lienzo.core.errors import BadInput, BadWeights
from lienzo.imaging.psnr import check_pair
from lienzo.metrics.nets.clip_features import compact_clip, stage_maps
from lienzo.metrics.nets.lpips_backbones import CHANNELS, SMALLEST, Backbone, from_torchvision
from lienzo.metrics.protocol import Protocol
from lienzo.nn.loading import fill_exactly
from lienzo.weights.reading import read_weights
from lienzo.weights.store import resolve

VERSIONS = ("0.0", "0.1")


class Scaling(nn.Module):
    """[-1, 1] to what torchvision's networks take."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale


class Head(nn.Module):
    """The weights of a layer's channels; their key says that a dropout stood before them in training."""

    def __init__(self, channels: int):
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class LPIPS(nn.Module):
    """The published measure.

    Args:
        net: `alex` (the authors' choice for reporting), `vgg` (for optimising) or `squeeze`.
        version: 0.1, or 0.0, which forgot to scale the input.
        linear: weigh channels by the learned heads; without, all count alike and there are no heads.
        spatial: give a map of the pictures' size instead of its mean.
    """

    def __init__(self, *, net: str = "alex", version: str = "0.1", linear: bool = True, spatial: bool = False):
        super().__init__()
        if net not in CHANNELS:
            raise BadInput(f"There is no LPIPS network '{net}'; choose alex, vgg or squeeze.")
        if version not in VERSIONS:
            raise BadInput(f"There is no LPIPS version '{version}'; choose 0.1 or 0.0.")
        self.config: dict[str, Any] = {"net": net, "version": version, "linear": linear, "spatial": spatial}
        self.spatial = spatial
        self.smallest = SMALLEST[net]
        self.scaling_layer = Scaling()
        self.net = Backbone(net)
        self.count = len(CHANNELS[net])
        for number, channels in enumerate(CHANNELS[net] if linear else ()):
            self.add_module(f"lin{number}", Head(channels))

    def layers(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """The part of each layer, (B, 1, 1, 1), or (B, 1, H, W) for a spatial measure; their sum is the distance.

        Args:
            x, y: (B, 3, H, W) in [-1, 1]. Differentiable.

        Raises:
            BadInput: the pictures differ in shape, or are too small for the network.
        """
        x, y = check_pair(x, y)
        if x.ndim != 4 or x.shape[1] != 3:
            raise BadInput(f"LPIPS compares RGB pictures (B, 3, H, W); these are {tuple(x.shape)}.")
        if min(x.shape[-2:]) < self.smallest:
            raise BadInput(
                f"LPIPS with {self.config['net']} needs pictures of at least {self.smallest} pixels a side; "
                f"these have {min(x.shape[-2:])}."
            )
        if self.config["version"] == "0.1":
            x, y = self.scaling_layer(x), self.scaling_layer(y)
        parts = []
        for number, (a, b) in enumerate(zip(self.net(x), self.net(y))):
            squared = (unit_channels(a) - unit_channels(b)).square()
            part = self.get_submodule(f"lin{number}")(squared) if self.config["linear"] else squared.sum(1, True)
            parts.append(_spread(part, x.shape[-2:]) if self.spatial else part.mean((2, 3), keepdim=True))
        return parts

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance of pictures in [-1, 1]: (B, 1, 1, 1), or (B, 1, H, W) for a spatial measure."""
        return torch.stack(self.layers(x, y)).sum(0)


class FeatureDistance(nn.Module):
    """A distance in the manner of LPIPS over the features of a compact CLIP, for those who have no backbone at hand.

    Each stage's map is brought to unit length over its channels; the squared differences are summed over channels,
    averaged over places and, with equal weights, over stages. Its figures are not LPIPS.

    Args:
        model: whose stages are compared.
        source: its name, for the measure's.
    """

    def __init__(self, model: CompactClip, source: str):
        super().__init__()
        self.model = model
        self.name = str(Protocol.of("lpips-like", {"net": source}))

    def layers(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """The distance at each stage, (B,) in [0, 4]; x, y: (B, 3, H, W) in [0, 1]. Differentiable."""
        x, y = check_pair(x, y)
        if x.ndim != 4 or x.shape[1] != 3:
            raise BadInput(f"This distance compares RGB pictures (B, 3, H, W); these are {tuple(x.shape)}.")
        pairs = zip(stage_maps(self.model, x), stage_maps(self.model, y))
        return [(unit_channels(a) - unit_channels(b)).square().sum(1).mean((1, 2)) for a, b in pairs]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean over stages, (B,); arguments as in `layers`."""
        return torch.stack(self.layers(x, y)).mean(0)


def lpips(model: LPIPS, x: Tensor, y: Tensor) -> Tensor:
    """The distance of each pair of pictures (B, 3, H, W) in [0, 1], (B,); of a spatial measure, the map's mean."""
    return model(x * 2 - 1, y * 2 - 1).mean((1, 2, 3))


def feature_distance(source: str | Path = "guide", device: str | torch.device = "cpu") -> FeatureDistance:
    """`FeatureDistance` with a compact CLIP by name or path.

    Raises:
        BadInput: there is no such model, or it is another network.
    """
    model = compact_clip(source, device).requires_grad_(False)
    return FeatureDistance(model, resolve(source).stem).eval()


def unit_channels(x: Tensor) -> Tensor:
    """(B, C, H, W) with the channels of each place scaled to length 1; places that are all zero stay so."""
    length = x.square().sum(1, keepdim=True).clamp(min=1e-20).sqrt()
    return x / (length + 1e-10)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether these are a whole LPIPS: its backbone, and its heads if it has any."""
    return "net.slice1.0.weight" in state and "scaling_layer.shift" in state


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> LPIPS:
    """A whole LPIPS in evaluation mode, from a state dict of the `lpips` package or of ours.

    Args:
        state: backbone and heads.
        config: constructor arguments; without, the network is told by its shapes, and the version is 0.1.

    Raises:
        BadWeights: keys or shapes do not fit; the sentence names the first.
    """
    state = _plain_heads(state)
    read: dict[str, Any] = {"net": _net(state), "linear": any(key.startswith("lin") for key in state)}
    options = read | dict(config or {})
    with torch.device("meta"):
        model = LPIPS(**options)
    constants = Scaling().state_dict(prefix="scaling_layer.")
    return fill_exactly(model, constants | state, f"LPIPS with {options['net']}").eval().requires_grad_(False)


def open_lpips(
    net: str,
    backbone: str | Path,
    heads: str | Path | None,
    device: str | torch.device = "cpu",
    *,
    version: str = "0.1",
    spatial: bool = False,
) -> LPIPS:
    """LPIPS from torchvision's backbone file and the heads of the `lpips` package.

    Args:
        net: `alex`, `vgg` or `squeeze`.
        backbone: torchvision's alexnet, vgg16 or squeezenet1_1, by name or path.
        heads: the package's `weights/v0.1/NET.pth`; None for the measure without heads.
        device: where it runs.
        version: of the heads.
        spatial: as in `LPIPS`.

    Raises:
        BadInput: there is no such network or file.
        BadWeights: a file holds something else.
    """
    if net not in CHANNELS:
        raise BadInput(f"There is no LPIPS network '{net}'; choose alex, vgg or squeeze.")
    layers = from_torchvision(net, read_weights(resolve(backbone)).tensors)
    state = {f"net.{key}": value for key, value in layers.items()}
    if heads is not None:
        state |= _plain_heads(read_weights(resolve(heads)).tensors)
    options = {"net": net, "version": version, "linear": heads is not None, "spatial": spatial}
    return load(state, options).to(device)


def _plain_heads(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Heads under `linN.model.1`: the package stores them twice, and without dropout under `model.0`."""
    found = {}
    for key, value in state.items():
        match = re.fullmatch(r"lins?\.?(\d+)\.model\.[01]\.weight", key)
        found[f"lin{match[1]}.model.1.weight" if match else key] = value
    return found


def _net(state: Mapping[str, Tensor]) -> str:
    """Which backbone it is, by the first layers."""
    first = state.get("net.slice1.0.weight")
    if first is None or first.ndim != 4:
        raise BadWeights("These weights are no LPIPS: they lack 'net.slice1.0.weight'.")
    if first.shape[-1] == 11:
        return "alex"
    return "vgg" if "net.slice1.2.weight" in state else "squeeze"


def _spread(part: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(part, size, mode="bilinear", align_corners=False)
