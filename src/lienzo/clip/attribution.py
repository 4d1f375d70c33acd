"""Where in a picture a CLIP sees what a sentence says. Maps explain the CLIP, not the world: they may look anywhere.

`occlusion` covers parts and watches the cosine fall; it needs nothing but vectors (Zeiler & Fergus 2014,
arXiv:1311.2901). `attention_maps` propagates relevance through a vision transformer's attention (Chefer et al. 2021,
arXiv:2103.15679). `hires_cam` multiplies a convolutional map by its gradient, place by place (Draelos & Carin 2020,
arXiv:2011.08891), which unlike Grad-CAM never shows places that did not contribute.

All explain the score f·d of a picture's unit vector f with a direction d: a sentence's unit vector, or the difference
from another's ("apple rather than car").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.clip.compact import CompactClip
from lienzo.clip.model import CLIP
from lienzo.clip.preprocessing import CLIP_MEAN, CLIP_STD, normalise
from lienzo.clip.resnet import ModifiedResNet
from lienzo.clip.transformer import Attention, VisionTransformer
from lienzo.core.errors import BadInput

SHARES = (0.25, 0.4)
"""Sides of the covering squares as shares of the picture's."""
FINEST = 7
"""A convolutional map is taken where it has at least this many places a side."""


def occlusion(
    score: Callable[[np.ndarray], np.ndarray],
    picture: np.ndarray,
    *,
    shares: tuple[float, ...] = SHARES,
    steps: int = 13,
    batch: int = 64,
) -> np.ndarray:
    """How far each score falls when a place is covered, on average over the squares that cover it.

    The squares have the median colour of the picture's edge, so that an object on a plain ground is truly removed.

    Args:
        score: uint8 (B, S, S, 3) to (B, P) scores.
        picture: uint8 (S, S, 3), as the CLIP reads it.
        shares: sides of the squares as shares of S; their maps are averaged.
        steps: squares in a row.
        batch: pictures scored at once.

    Returns:
        float32 (P, S, S); below 0 where covering raised the score.
    """
    side = picture.shape[0]
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    colour = np.median(edge, axis=0).astype(np.uint8)
    whole = score(picture[None])[0]  # (P,)
    total = np.zeros((len(whole), side, side))
    for share in shares:
        width = max(1, round(share * side))
        # Squares reach over the edge, so that every place is covered by about as many of them.
        starts = np.unique(np.linspace(1 - width, side - 1, steps + 2)[1:-1].round().astype(int))
        boxes = [(max(y, 0), y + width, max(x, 0), x + width) for y in starts for x in starts]
        falls, cover = np.zeros_like(total), np.zeros((side, side))
        for first in range(0, len(boxes), batch):
            some = boxes[first : first + batch]
            covered = np.repeat(picture[None], len(some), axis=0)
            for image, (top, bottom, left, right) in zip(covered, some):
                image[top:bottom, left:right] = colour
            for fall, (top, bottom, left, right) in zip(whole - score(covered), some):
                falls[:, top:bottom, left:right] += fall[:, None, None]
                cover[top:bottom, left:right] += 1
        total += falls / np.maximum(cover, 1)
    return (total / len(shares)).astype(np.float32)


def attention_maps(tower: VisionTransformer, image: Tensor, directions: Tensor) -> Tensor:
    """Relevance of each patch for the score by gradient-weighted attention, (P, grid, grid), at least 0.

    The relevance of the tokens for the class token starts as the identity and grows at each block by the mean over
    heads of the positive part of attention times its gradient.

    Args:
        tower: the vision transformer.
        image: (1, 3, R, R), normalised.
        directions: (P, D).
    """
    with torch.enable_grad():
        x = tower.conv1(image).flatten(2).transpose(1, 2)
        first = tower.class_embedding.expand(1, 1, -1)
        x = tower.ln_pre(torch.cat([first, x], dim=1) + tower.positional_embedding).requires_grad_()  # (1, L, W)
        weights = []
        for block in tower.transformer.resblocks:
            attended, weight = _attend(block.attn, block.ln_1(x))  # type: ignore[arg-type,operator]
            weights.append(weight)
            x = x + attended
            x = x + block.mlp(block.ln_2(x))  # type: ignore[operator]
        vector = F.normalize(tower.ln_post(x[:, 0]) @ tower.proj, dim=-1)
        scores = (vector @ directions.T)[0]
        maps = []
        for place in range(len(directions)):
            gradients = torch.autograd.grad(scores[place], weights, retain_graph=True)
            maps.append(_relevance([w.detach() for w in weights], gradients))
    return torch.stack(maps)


def _attend(attention: Attention, x: Tensor) -> tuple[Tensor, Tensor]:
    """What `Attention` computes, with its weights (1, H, L, L), which the fused kernel does not show."""
    batch, length, width = x.shape
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.view(batch, length, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
    y = (weights @ v).transpose(1, 2).reshape(batch, length, width)
    return attention.out_proj(y), weights


def _relevance(weights: list[Tensor], gradients: tuple[Tensor, ...]) -> Tensor:
    """Relevance of the patches for the class token, (grid, grid)."""
    length = weights[0].shape[-1]
    relevance = torch.eye(length, device=weights[0].device, dtype=weights[0].dtype)
    for weight, gradient in zip(weights, gradients):
        relevance = relevance + (weight * gradient).clamp(min=0).mean(dim=1)[0] @ relevance
    grid = round((length - 1) ** 0.5)
    return relevance[0, 1:].view(grid, grid)


def hires_cam(encode: Callable[[Tensor], Tensor], layer: nn.Module, image: Tensor, directions: Tensor) -> Tensor:
    """The layer's map times the gradient of the score, summed over channels: (P, h, w), at least 0.

    Args:
        encode: images to vectors (B, D).
        layer: the part of the network whose output, (1, C, h, w), is looked at.
        image: what `encode` reads, one picture.
        directions: (P, D).
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        found.append(output if output.requires_grad else output.requires_grad_())
        return found[-1]

    handle = layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = (F.normalize(encode(image), dim=-1) @ directions.T)[0]
    finally:
        handle.remove()
    maps = []
    for place in range(len(directions)):
        (gradient,) = torch.autograd.grad(scores[place], found[:1], retain_graph=True)
        maps.append((gradient * found[0]).sum(dim=1)[0].clamp(min=0).detach())
    return torch.stack(maps)


def gradient_maps(
    model: nn.Module,
    picture: Tensor,
    directions: Tensor,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> tuple[Tensor, str]:
    """The maps of the method that fits a CLIP's picture tower, (P, h, w), and the method's name.

    Args:
        model: a `CLIP` or `CompactClip`.
        picture: (1, 3, S, S) in [0, 1], at the tower's own size.
        directions: (P, D).
        mean, std: of the channels, as a `CLIP` was trained with; a `CompactClip` has its own.

    Raises:
        BadInput: the network is neither; occlusion explains any CLIP.
    """
    if isinstance(model, CLIP) and isinstance(model.visual, VisionTransformer):
        return attention_maps(model.visual, normalise(picture, mean, std), directions), "attention"
    if isinstance(model, CLIP) and isinstance(model.visual, ModifiedResNet):
        image = normalise(picture, mean, std)
        return hires_cam(model.encode_image, model.visual.layer4, image, directions), "cam"  # type: ignore[arg-type]
    if isinstance(model, CompactClip):
        return hires_cam(model.encode_image, compact_layer(model), picture, directions), "cam"
    raise BadInput("This CLIP's tower is of a kind that gradients do not explain here; choose --method occlusion.")


def compact_layer(model: CompactClip) -> nn.Module:
    """The deepest stage of a compact CLIP whose map is at least `FINEST` places a side; the first if none is."""
    side, chosen = (model.size + 1) // 2, 0
    for stage, end in enumerate(model.ends):
        if stage:
            side = (side + 1) // 2
        if side >= FINEST or not stage:
            chosen = end
    return model.blocks[chosen]
