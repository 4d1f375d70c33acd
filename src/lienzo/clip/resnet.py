"""CLIP's ResNet: three-layer stem, anti-aliased strides, attention pooling; in OpenAI's key layout."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.core.errors import BadInput

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; a stride is an average pool before the last convolution."""

    def __init__(self, channels: int, planes: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, planes * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * EXPANSION)
        # A block starts as the identity.
        nn.init.zeros_(self.bn3.weight)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != planes * EXPANSION:
            # The pool is named "-1" so that the convolution and the norm keep OpenAI's names 0 and 1.
            self.downsample = nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride)),
                        ("0", nn.Conv2d(channels, planes * EXPANSION, 1, bias=False)),
                        ("1", nn.BatchNorm2d(planes * EXPANSION)),
                    ]
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.avgpool(F.relu(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    """Attention with the mean of the map as its only query, (B, C, h, w) to (B, embed_dim)."""

    def __init__(self, grid: int, channels: int, heads: int, embed_dim: int):
        super().__init__()
        if heads < 1 or channels % heads:
            raise BadInput(f"A width of {channels} cannot be divided among {heads} heads.")
        self.heads = heads
        self.positional_embedding = nn.Parameter(channels**-0.5 * torch.randn(grid**2 + 1, channels))
        self.k_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embed_dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        x = x.flatten(2).transpose(1, 2)  # (B, hw, C)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding  # (B, hw + 1, C)

        def split(y: Tensor) -> Tensor:
            return y.view(batch, -1, self.heads, channels // self.heads).transpose(1, 2)

        q, k, v = split(self.q_proj(x[:, :1])), split(self.k_proj(x)), split(self.v_proj(x))
        y = F.scaled_dot_product_attention(q, k, v)  # (B, H, 1, C/H)
        return self.c_proj(y.reshape(batch, channels))


class ModifiedResNet(nn.Module):
    """The ResNet of CLIP (Radford et al., arXiv:2103.00020, section 2.4).

    Images (B, 3, image_resolution, image_resolution), normalised, to embeddings (B, embed_dim). The map before
    the pooling has `32 * width` channels and is 32 times smaller than the image.
    """

    def __init__(self, *, image_resolution: int, layers: Sequence[int], width: int, heads: int, embed_dim: int):
        super().__init__()
        if len(layers) != 4:
            raise BadInput(f"A CLIP ResNet has four stages; {len(layers)} were given.")
        if image_resolution < 32:
            raise BadInput(f"A CLIP ResNet reads images of 32 pixels or more, not {image_resolution}.")
        self.image_resolution = image_resolution
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        channels = width
        for i, blocks in enumerate(layers):
            planes = width * 2**i
            stage = []
            for j in range(blocks):
                stage.append(Bottleneck(channels, planes, stride=2 if i and not j else 1))
                channels = planes * EXPANSION
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.attnpool = AttentionPool(image_resolution // 32, channels, heads, embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        if x.shape[-2] * x.shape[-1] + 1 != self.attnpool.positional_embedding.shape[0]:
            size, (height, width) = self.image_resolution, image.shape[-2:]
            raise BadInput(f"The image is {width} x {height}; this CLIP reads {size} x {size} pixels.")
        return self.attnpool(x)  # (B, D)
