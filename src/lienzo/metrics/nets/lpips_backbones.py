"""The three backbones of LPIPS: AlexNet, VGG-16 and SqueezeNet 1.1, cut into the slices whose ends are compared.

Layers keep their numbers in torchvision's `features`, so `features.3.weight` there is `slice2.3.weight` here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadWeights

ENDS = {"alex": (2, 5, 8, 10, 12), "squeeze": (2, 5, 8, 10, 11, 12, 13), "vgg": (4, 9, 16, 23, 30)}
"""The layer after the last of each slice."""
CHANNELS = {
    "alex": (64, 192, 384, 256, 256),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
    "vgg": (64, 128, 256, 512, 512),
}
SMALLEST = {"alex": 31, "squeeze": 17, "vgg": 16}
"""Pixels a side below which a slice has nothing left."""


class Fire(nn.Module):
    """SqueezeNet's block: narrow by 1x1, then widen by 1x1 and 3x3 side by side."""

    def __init__(self, inside: int, narrow: int, wide: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inside, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


def alex_layers() -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for inside, outside in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
    return layers


def squeeze_layers() -> list[nn.Module]:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    layers = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64)]
    layers += [pool(), Fire(128, 32, 128), Fire(256, 32, 128)]
    layers += [pool(), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    return layers


def vgg_layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    inside = 3
    for count, outside in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        layers += [nn.MaxPool2d(2, 2)] if layers else []
        for _ in range(count):
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
            inside = outside
    return layers


LAYERS = {"alex": alex_layers, "squeeze": squeeze_layers, "vgg": vgg_layers}


class Backbone(nn.Module):
    """A backbone by its name: (B, 3, H, W) to the maps at the end of each slice, (B, channels, h, w)."""

    def __init__(self, net: str):
        super().__init__()
        layers, start = LAYERS[net](), 0
        for number, end in enumerate(ENDS[net], 1):
            part = nn.Sequential()
            for place in range(start, end):
                part.add_module(str(place), layers[place])
            self.add_module(f"slice{number}", part)
            start = end

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for part in self.children():
            x = part(x)
            maps.append(x)
        return maps


def from_torchvision(net: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of `Backbone` for a file of torchvision's network; its classifier is left out.

    Raises:
        BadWeights: the file has no `features`.
    """
    renamed = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        place, _, _ = rest.partition(".")
        if head == "features" and place.isdecimal() and int(place) < ENDS[net][-1]:
            number = next(i for i, end in enumerate(ENDS[net], 1) if int(place) < end)
            renamed[f"slice{number}.{rest}"] = value
    if not renamed:
        raise BadWeights(f"The weights are not those of torchvision's {net}: they have no 'features'.")
    return renamed
