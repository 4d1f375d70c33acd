"""A compact CLIP for small pictures: a convolutional tower and a head on sentence vectors.

The text side reads the vectors of `SentenceEncoder` (locked text, as LiT, Zhai et al. 2022, arXiv 2111.07991), so
words outside the captions keep a place near their neighbours. Two towers exist so that the one that guides and
the one that judges are of different build: `basic` (He et al. 2016, mean pooling) and `bottleneck` (blurred
strides and attention pooling, as CLIP's own ResNet).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.nn.loading import fill_exactly


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        same = stride == 1 and inside == outside
        self.shortcut = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class BottleneckBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions; a stride is an average pool, so nothing aliases."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        middle = outside // 2
        self.conv1 = nn.Conv2d(inside, middle, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outside, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outside)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        same = stride == 1 and inside == outside
        self.shortcut = nn.Identity() if same else nn.Conv2d(inside, outside, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)))
        hidden = self.pool(F.relu(self.norm2(self.conv2(hidden))))
        return F.relu(self.norm3(self.conv3(hidden)) + self.shortcut(self.pool(x)))


class AttentionPool(nn.Module):
    """The mean feature asks all places what matters (CLIP's attention pool, one query)."""

    def __init__(self, width: int, places: int, heads: int = 4):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(places, width) / width**0.5)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2).transpose(1, 2) + self.positions  # (B, H*W, C)
        query = places.mean(1, keepdim=True)
        return query[:, 0] + self.attend(query, places, places, need_weights=False)[0][:, 0]


class CompactClip(nn.Module):
    """Pictures and sentence vectors in one space.

    Args:
        tower: `basic` or `bottleneck`.
        widths: channels of the stages; each but the first halves the picture.
        depth: blocks a stage.
        size: side of the pictures in pixels; others are resized (antialiased).
        embed_dim: length of the common vectors.
        text_dim: length of the sentence vectors.
        styles: names of the styles the style head tells apart.
    """

    def __init__(
        self,
        *,
        tower: str = "basic",
        widths: Sequence[int] = (32, 64, 128, 256),
        depth: int = 2,
        size: int = 32,
        embed_dim: int = 256,
        text_dim: int = 384,
        styles: Sequence[str] = (),
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "tower": tower,
            "widths": list(widths),
            "depth": depth,
            "size": size,
            "embed_dim": embed_dim,
            "text_dim": text_dim,
            "styles": list(styles),
        }
        self.size = size
        block = {"basic": BasicBlock, "bottleneck": BottleneckBlock}[tower]
        kernel = 5 if tower == "basic" else 3
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], kernel, 2, kernel // 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        for i, width in enumerate(widths):
            inside = widths[max(i - 1, 0)]
            blocks.append(block(inside, width, 1 if i == 0 else 2))
            blocks += [block(width, width, 1) for _ in range(depth - 1)]
        self.blocks = nn.Sequential(*blocks)
        places = (size // 2 ** len(widths)) ** 2
        self.pool = (
            AttentionPool(widths[-1], places)
            if tower == "bottleneck"
            else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        )
        self.project = nn.Linear(widths[-1], embed_dim)
        self.style_head = nn.Linear(widths[-1], max(len(styles), 1))
        self.text_skip = nn.Linear(text_dim, embed_dim)
        self.text_head = nn.Sequential(nn.Linear(text_dim, 512), nn.GELU(), nn.Dropout(0.1), nn.Linear(512, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, widths[-1]) of pictures (B, 3, H, W) in [0, 1]."""
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return self.pool(self.blocks(self.stem(images * 2 - 1)))

    def encode_image(self, images: Tensor) -> Tensor:
        """Unit vectors (B, embed_dim) of pictures (B, 3, H, W) in [0, 1], any size."""
        return F.normalize(self.project(self.features(images)).float(), dim=-1)

    def encode_text(self, vectors: Tensor) -> Tensor:
        """Unit vectors (B, embed_dim) of sentence vectors (B, text_dim)."""
        scaled = vectors * vectors.shape[-1] ** 0.5
        return F.normalize((self.text_head(scaled) + self.text_skip(scaled)).float(), dim=-1)

    def forward(self, images: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Picture vectors, text vectors and style logits of matching rows."""
        features = self.features(images)
        picture = F.normalize(self.project(features).float(), dim=-1)
        return picture, self.encode_text(vectors), self.style_head(features)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a `CompactClip`."""
    return {"stem.0.weight", "text_skip.weight", "logit_scale"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> CompactClip:
    """The network in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = CompactClip(**(config or {}))
    return fill_exactly(model, state, "a compact CLIP").eval().requires_grad_(False)
