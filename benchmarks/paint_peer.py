"""The published VQGAN+CLIP loop, for paint_speed.py: our own code of what nerdyrodent/VQGAN-CLIP does by default.

Codes drawn at random; each step decodes the codes nearest to the latents (straight-through), pools the picture by mean
and maximum to what the CLIP takes, changes 32 copies of it at random (affine, perspective, colour jitter, erasing, one
after the other, as Kornia does), adds noise, and follows the squared angle to the sentence by Adam with a rate of 0.1
in units of the codebook; then the latents are clamped to the range of the codebook.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.autoencoders.vqgan import VQModel
from lienzo.guidance.augment import perspective_maps, warp
from lienzo.guidance.ops import clamp_with_grad, replace_grad
from lienzo.guidance.perceptor import Perceptor


@dataclass(frozen=True)
class Flags:
    """VQGAN-CLIP's flags and their defaults; `change` of the colours and `share` are those of its augmentations."""

    iterations: int = 500
    num_cuts: int = 32
    step_size: float = 0.1
    noise: float = 0.1
    share: float = 0.7
    change: float = 0.1


def published(vqgan: VQModel, clip: Perceptor, prompt: str, side: int, seed: int, flags: Flags) -> Iterator[Tensor]:
    """The picture (1, 3, side, side) in [0, 1] of each step, before the step; the generator stops after the last."""
    torch.manual_seed(seed)
    codes = vqgan.quantize.embedding.weight.detach()  # (N, D)
    low, high = (bound[None, :, None, None] for bound in (codes.amin(0), codes.amax(0)))
    places = side // vqgan.factor
    z = codes[torch.randint(len(codes), (places, places))].permute(2, 0, 1)[None].clone().requires_grad_()
    target = F.normalize(clip.encode_text([prompt]), dim=-1)  # (1, D)
    adam = torch.optim.Adam([z], lr=flags.step_size)
    for _ in range(flags.iterations):
        adam.zero_grad()
        picture = synth(vqgan, z, codes)
        cuts = cut(picture, flags, clip.size)
        embeds = F.normalize(clip.encode_image(cuts), dim=-1)
        loss = 2 * ((embeds - target).norm(dim=-1) / 2).arcsin().square()
        loss.mean().backward()
        adam.step()
        with torch.no_grad():
            z.copy_(z.maximum(low).minimum(high))
        yield picture.detach()


def synth(vqgan: VQModel, z: Tensor, codes: Tensor) -> Tensor:
    """Latents (1, D, h, w) to a picture in [0, 1]."""
    flat = z.movedim(1, -1)
    distance = flat.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * flat @ codes.T
    nearest = F.one_hot(distance.argmin(-1), len(codes)).to(codes) @ codes
    z = replace_grad(nearest, flat).movedim(-1, 1)
    return clamp_with_grad((vqgan.decoder(vqgan.post_quant_conv(z)) + 1) / 2, 0, 1)


def cut(picture: Tensor, flags: Flags, size: int) -> Tensor:
    """`num_cuts` changed copies of the whole picture, pooled: (num_cuts, 3, size, size)."""
    copies = [F.adaptive_avg_pool2d(picture, size) + F.adaptive_max_pool2d(picture, size)] * flags.num_cuts
    cuts = torch.cat(copies) / 2
    for change in (affine, perspective, jitter):
        cuts = torch.where((torch.rand(len(cuts)) < flags.share)[:, None, None, None], change(cuts, flags), cuts)
    cuts = erased(cuts) if torch.rand(()) < flags.share else cuts
    return cuts + torch.rand(len(cuts), 1, 1, 1) * flags.noise * torch.randn_like(cuts)


def affine(cuts: Tensor, flags: Flags) -> Tensor:
    """Turn by up to 15 degrees, shear by up to 5, shift by up to a tenth of the side."""
    u = torch.rand(len(cuts), 4) * 2 - 1
    angle, shear = u[:, 0] * math.radians(15), (u[:, 1] * math.radians(5)).tan()
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(cuts))
    rows = torch.stack([cos, shear * cos - sin, 0.2 * u[:, 2], sin, shear * sin + cos, 0.2 * u[:, 3]], -1)
    ones = torch.stack([zero, zero, zero + 1], -1)[:, None]
    return warp(cuts, torch.cat([rows.view(-1, 2, 3), ones], 1))


def perspective(cuts: Tensor, flags: Flags) -> Tensor:
    """Each corner moves inward by up to 0.7 of half the side."""
    return warp(cuts, perspective_maps(0.7 * torch.rand(len(cuts), 4, 2)))


def jitter(cuts: Tensor, flags: Flags) -> Tensor:
    """Brightness, contrast, saturation and hue change by up to `change` each, in a random order."""
    u = (torch.rand(4, len(cuts), 1, 1, 1) * 2 - 1) * flags.change
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda x: (x + u[0]).clamp(0, 1),
        lambda x: (x * (1 + u[1])).clamp(0, 1),
        lambda x: (luma(x) + (x - luma(x)) * (1 + u[2])).clamp(0, 1),
        lambda x: hue_turned(x, 2 * math.pi * u[3]),
    ]
    for index in torch.randperm(4).tolist():
        cuts = changes[index](cuts)
    return cuts


def luma(x: Tensor) -> Tensor:
    """Grey (N, 1, H, W) of pictures."""
    return (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def hue_turned(x: Tensor, angle: Tensor) -> Tensor:
    """Colours turned about the grey axis by an angle (N, 1, 1, 1)."""
    mean, cos, sin = x.mean(1, keepdim=True), angle.cos(), angle.sin()
    away = x - mean
    across = (away.roll(1, 1) - away.roll(-1, 1)) / math.sqrt(3)
    return (mean + cos * away + sin * across).clamp(0, 1)


def erased(cuts: Tensor) -> Tensor:
    """One black rectangle at the same place of all, of 0.1 to 0.4 of the area and a shape between 0.3 and 1 / 0.3."""
    size = cuts.shape[-1]
    area, ratio = 0.1 + 0.3 * torch.rand(()), torch.exp((torch.rand(()) * 2 - 1) * math.log(0.3))
    height, width = (min(int(size * (area * r).sqrt()), size) for r in (ratio, 1 / ratio))
    y, x = (int(torch.randint(size - side + 1, ())) for side in (height, width))
    keep = torch.ones(1, 1, size, size)
    keep[..., y : y + height, x : x + width] = 0
    return cuts * keep
