"""A compact CLIP for small pictures: a convolutional tower and a head on sentence vectors.

The text side reads the vectors of `SentenceEncoder` (locked text, as LiT, Zhai et al. 2022, arXiv 2111.07991), so
words outside the captions keep a place near their neighbours. Three towers: `lite0` (EfficientNet-Lite0, which can
start from ImageNet), `basic` (He et al. 2016, mean pooling) and `bottleneck` (blurred strides and attention pooling,
as CLIP's own ResNet). Any of them can be told how much noise is in a picture, as GLIDE's CLIP is (Nichol et al. 2021,
arXiv 2112.10741, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.nn.efficientnet_lite0 import STAGES as LITE0_STAGES
from lienzo.nn.efficientnet_lite0 import WIDTH as LITE0_WIDTH
from lienzo.nn.efficientnet_lite0 import Block as Lite0Block
from lienzo.nn.efficientnet_lite0 import SameConv, norm
from lienzo.nn.loading import fill_exactly

NOISE_WAVES = 16  # cosines of the noise's angle that the towers are told


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


class NoiseShift(nn.Module):
    """Adds to each channel what the noise level asks for; nothing before training.

    The level enters as cosines of its angle atan(sigma), which runs over [0, pi/2).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.linear = nn.Linear(NOISE_WAVES, channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        waves = torch.arange(1, NOISE_WAVES + 1, device=sigma.device)
        angles = 2 * sigma.float().atan()[:, None] * waves  # (B, waves)
        return x + self.linear(angles.cos() - 1).to(x.dtype)[:, :, None, None]


class Tower(NamedTuple):
    """What a picture goes through, and the blocks that end a stage with their channels."""

    stem: nn.Module
    blocks: nn.Sequential
    pool: nn.Module
    ends: dict[int, int]


def resnet_tower(kind: str, widths: Sequence[int], depth: int, size: int) -> Tower:
    """The towers `basic` and `bottleneck`; `depth` blocks a stage."""
    block = {"basic": BasicBlock, "bottleneck": BottleneckBlock}[kind]
    kernel = 5 if kind == "basic" else 3
    stem = nn.Sequential(
        nn.Conv2d(3, widths[0], kernel, 2, kernel // 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
    )
    blocks: list[nn.Module] = []
    for i, width in enumerate(widths):
        blocks.append(block(widths[max(i - 1, 0)], width, 1 if i == 0 else 2))
        blocks += [block(width, width, 1) for _ in range(depth - 1)]
    pool: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if kind == "bottleneck":
        pool = AttentionPool(widths[-1], (size // 2 ** len(widths)) ** 2)
    return Tower(stem, nn.Sequential(*blocks), pool, {(i + 1) * depth - 1: width for i, width in enumerate(widths)})


def lite0_tower() -> Tower:
    """EfficientNet-Lite0 up to its pooled features; a stage is what sees pictures at one resolution."""
    stem = nn.Sequential(SameConv(3, 32, 3, 2), norm(32), nn.ReLU6())
    blocks: list[nn.Module] = []
    ends: dict[int, int] = {}
    inside = 32
    for count, kernel, stride, expansion, outside in LITE0_STAGES:
        if stride == 2:
            ends[len(blocks) - 1] = inside
        for i in range(count):
            blocks.append(Lite0Block(inside, outside, kernel, stride if i == 0 else 1, expansion))
            inside = outside
    ends[len(blocks) - 1] = inside
    head = (SameConv(inside, LITE0_WIDTH, 1), norm(LITE0_WIDTH), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Tower(stem, nn.Sequential(*blocks), nn.Sequential(*head), ends)


def from_imagenet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an EfficientNet-Lite0 under the names of a compact CLIP's `lite0` tower, without its classes."""
    heads = {
        "_conv_stem": "stem.0", "_bn0": "stem.1", "_blocks": "blocks", "_conv_head": "pool.0", "_bn1": "pool.1",
    }  # fmt: skip
    split = (key.partition(".") for key in state if not key.startswith("_fc."))
    return {f"{heads[head]}.{rest}": state[f"{head}.{rest}"] for head, _, rest in split}


class CompactClip(nn.Module):
    """Pictures and sentence vectors in one space.

    Args:
        tower: `lite0`, `basic` or `bottleneck`.
        widths: channels of the stages of the latter two; each but the first halves the picture.
        depth: blocks a stage, likewise.
        size: side of the pictures in pixels; others are resized (antialiased).
        embed_dim: length of the common vectors.
        text_dim: length of the sentence vectors.
        styles: names of the styles the style head tells apart.
        noise_aware: whether the tower is told the noise in a picture.
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
        noise_aware: bool = False,
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
            "noise_aware": noise_aware,
        }
        self.size = size
        lite0 = tower == "lite0"
        parts = lite0_tower() if lite0 else resnet_tower(tower, widths, depth, size)
        self.stem, self.blocks, self.pool, self.ends = parts
        self.feature_dim = LITE0_WIDTH if lite0 else widths[-1]
        self.noise = nn.ModuleDict({str(i): NoiseShift(width) for i, width in parts.ends.items() if noise_aware})
        self.project = nn.Linear(self.feature_dim, embed_dim)
        self.style_head = nn.Linear(self.feature_dim, max(len(styles), 1))
        self.text_skip = nn.Linear(text_dim, embed_dim)
        self.text_head = nn.Sequential(nn.Linear(text_dim, 512), nn.GELU(), nn.Dropout(0.1), nn.Linear(512, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def stage_maps(self, images: Tensor, sigma: Tensor | None = None, stages: int | None = None) -> list[Tensor]:
        """The feature map at the end of each stage, (B, C, h, w), each half as large as the one before.

        Args:
            images: (B, 3, H, W) in [0, 1], of any size from 2^stages pixels a side.
            sigma: (B,), see `encode_image`.
            stages: how many, from the first; None for all.
        """
        if sigma is None:
            sigma = images.new_zeros(len(images))
        x, maps = self.stem(images * 2 - 1), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.ends:
                x = self.noise[str(i)](x, sigma) if self.noise else x
                maps.append(x)
                if len(maps) == stages:
                    break
        return maps

    def features(self, images: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Pooled features (B, feature_dim) of pictures (B, 3, H, W) in [0, 1]; see `encode_image`."""
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return self.pool(self.stage_maps(images, sigma)[-1])

    def encode_image(self, images: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Unit vectors (B, embed_dim) of pictures.

        Args:
            images: (B, 3, H, W), any size; clean ones in [0, 1]. With noise it is (y + 1) / 2 of
                y = (x + sigma * noise) / sqrt(1 + sigma^2), x the clean picture over [-1, 1].
            sigma: (B,), noise over signal; None means clean. A tower that is not noise-aware passes it over.
        """
        return F.normalize(self.project(self.features(images, sigma)).float(), dim=-1)

    def encode_text(self, vectors: Tensor) -> Tensor:
        """Unit vectors (B, embed_dim) of sentence vectors (B, text_dim)."""
        scaled = vectors * vectors.shape[-1] ** 0.5
        return F.normalize((self.text_head(scaled) + self.text_skip(scaled)).float(), dim=-1)

    def forward(self, images: Tensor, vectors: Tensor, sigma: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Picture vectors, text vectors and style logits of matching rows."""
        features = self.features(images, sigma)
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
