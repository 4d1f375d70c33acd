"""How pictures become small and bad: clean shrinking, blur, JPEG, and a light random mix of them."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation steps of luminance in the JPEG standard (ITU-T T.81, annex K)."""
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantisation steps of the two colour differences."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def shrink(x: Tensor, scale: int, kernel: str = "bicubic") -> Tensor:
    """Antialiased shrinking by a whole number: (B, C, H, W) in [0, 1] to (B, C, H / scale, W / scale) in [0, 1].

    `kernel` is 'bicubic' (the one of Pillow), 'bilinear' or 'area'.
    """
    if kernel == "area":
        return F.avg_pool2d(x, scale)
    size = (x.shape[2] // scale, x.shape[3] // scale)
    return F.interpolate(x, size, mode=kernel, antialias=True).clamp(0, 1)


def to_8_bits(x: Tensor) -> Tensor:
    """The nearest values that a PNG can hold, still as floats in [0, 1]."""
    return (x.clamp(0, 1) * 255).round() / 255


def blur(x: Tensor, sigmas: tuple[float, float], angle: float) -> Tensor:
    """Blur (B, C, H, W) by a Gaussian with two widths in pixels, the first along `angle` (radians)."""
    radius = max(1, math.ceil(3 * max(sigmas)))
    return convolve(x, torch.exp(-ellipse(radius, sigmas, angle) / 2))


def ellipse(radius: int, sigmas: tuple[float, float], angle: float) -> Tensor:
    """Squared distance from the centre in units of two widths, the first along `angle`: (2 radius + 1, same)."""
    steps = torch.arange(-radius, radius + 1.0)
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    along = (u * math.cos(angle) + v * math.sin(angle)) / sigmas[0]
    across = (v * math.cos(angle) - u * math.sin(angle)) / sigmas[1]
    return along**2 + across**2


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of (B, C, H, W) by an odd square kernel, scaled to sum to 1; edges are repeated."""
    radius = len(kernel) // 2
    kernel = (kernel / kernel.sum()).to(x).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (radius,) * 4, mode="replicate"), kernel, groups=x.shape[1])


def jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """What JPEG at 4:2:0 leaves of pictures (B, 3, H, W) in [0, 1]; `quality` (B,) from 1 to 100 as in libjpeg.

    The lossy steps only: colour transform, halved colour planes, cosine transform of 8x8 blocks, rounding.
    """
    height, width = x.shape[2:]
    matrix = torch.tensor(TO_YCC, dtype=x.dtype, device=x.device)
    ycc = torch.einsum("ij,bjhw->bihw", matrix, x * 255) - torch.tensor([128.0, 0, 0]).view(3, 1, 1).to(x)
    ycc = F.pad(ycc, (0, -width % 16, 0, -height % 16), mode="replicate")
    quality = quality.to(x)
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50).view(-1, 1, 1, 1, 1, 1)
    luma = quantise(ycc[:, :1], torch.tensor(LUMA_TABLE).to(x), factor)
    chroma = quantise(F.avg_pool2d(ycc[:, 1:], 2), torch.tensor(CHROMA_TABLE).to(x), factor)
    chroma = F.interpolate(chroma, scale_factor=2.0, mode="bilinear")
    ycc = torch.cat([luma + 128, chroma], 1)[:, :, :height, :width]
    return (torch.einsum("ij,bjhw->bihw", torch.linalg.inv(matrix), ycc) / 255).clamp(0, 1)


def quantise(plane: Tensor, table: Tensor, factor: Tensor) -> Tensor:
    """Round the cosine coefficients of each 8x8 block of (B, C, H, W) to multiples of table * factor."""
    steps = torch.arange(8, dtype=plane.dtype, device=plane.device)
    cosines = torch.cos((2 * steps[None] + 1) * steps[:, None] * math.pi / 16) / 2  # (frequency, place)
    cosines[0] /= math.sqrt(2)
    blocks = plane.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)  # (B, C, H/8, W/8, 8, 8)
    unit = (table * factor).round().clamp(1, 255)
    blocks = (cosines @ blocks @ cosines.T / unit).round() * unit
    return (cosines.T @ blocks @ cosines).transpose(3, 4).flatten(4, 5).flatten(2, 3)


def luma(x: Tensor) -> Tensor:
    """The brightness (B, 1, H, W) of colour pictures (B, 3, H, W)."""
    weights = torch.tensor(TO_YCC[0], dtype=x.dtype, device=x.device)
    return torch.einsum("c,bchw->bhw", weights, x)[:, None]


def damage(x: Tensor, scale: int, generator: Generator) -> Tensor:
    """Shrink each picture of (B, 3, H, W) in its own random way: kernel, blur, noise and JPEG, each only sometimes.

    One picture in five stays with the clean bicubic kernel alone, so that the network does not forget it.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    rows = []
    for row in x.split(1):
        clean = uniform(0, 1) < 0.2
        kernel = "bicubic" if clean else ("bicubic", "bilinear", "area")[int(uniform(0, 3))]
        if not clean and uniform(0, 1) < 0.3:
            row = blur(row, (uniform(0.3, 0.5 * scale), uniform(0.3, 0.5 * scale)), uniform(0, math.pi))
        row = shrink(row, scale, kernel)
        if not clean and uniform(0, 1) < 0.4:
            planes = 3 if uniform(0, 1) < 0.6 else 1  # coloured or grey grain
            grain = torch.randn(1, planes, *row.shape[2:], generator=generator).to(row)
            row = row + grain * uniform(0, 0.05)
        if not clean and uniform(0, 1) < 0.3:
            row = jpeg(row.clamp(0, 1), torch.tensor([uniform(50, 95)]))
        rows.append(row)
    return torch.cat(rows).clamp(0, 1)
