"""The damage of pictures from the world: blur, resizing, noise and JPEG, twice over.

After the second-order model of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833), whose kernels and random resizing
go back to BSRGAN (Zhang et al. 2021, arXiv:2103.14006). The odds and ranges are those of Real-ESRGAN; edges are
repeated where it reflects them, so that pictures may be smaller than a kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lienzo.upscaling.degradations import convolve, ellipse, jpeg, luma

SIZES = range(7, 22, 2)  # sides of kernels in pixels
SINC = 0.1  # how often a kernel is a ringing low-pass instead of a blur
SHAPES = {"gaussian": 0.70, "generalised": 0.15, "plateau": 0.15}  # of blurs, by share
ISOTROPIC = {"gaussian": 0.45 / 0.70, "generalised": 0.8, "plateau": 0.8}  # share of each that has no direction
BETA = {"gaussian": (1.0, 1.0), "generalised": (0.5, 4.0), "plateau": (1.0, 2.0)}  # exponents, half on each side of 1
GREY_NOISE = 0.4  # share of noise that is equal in all colours
QUALITY = (30.0, 95.0)
FINAL_SINC = 0.8


@dataclass(frozen=True)
class Stage:
    """Ranges of one of the two rounds of damage."""

    blur: float  # how often there is one
    sigma: tuple[float, float]  # in pixels
    up_down_keep: tuple[float, float, float]
    resize: tuple[float, float]
    gaussian: tuple[float, float]  # deviation of 255
    poisson: tuple[float, float]  # factor on the noise of counted light


FIRST = Stage(1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0))
SECOND = Stage(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5))


class Dice:
    """Random choices from one generator."""

    def __init__(self, generator: Generator):
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=self.generator, dtype=torch.float64).item()

    def chance(self, share: float) -> bool:
        return self.uniform(0, 1) < share

    def pick(self, shares: tuple[float, ...]) -> int:
        """An index with these odds."""
        u, total = self.uniform(0, sum(shares)), 0.0
        for i, share in enumerate(shares):
            total += share
            if u < total:
                return i
        return len(shares) - 1


def real_world(x: Tensor, scale: int, generator: Generator) -> Tensor:
    """Damage each picture of (B, 3, H, W) in [0, 1] in its own way, to (B, 3, H / scale, W / scale) in [0, 1].

    Blur, resize, noise, JPEG; the same again with smaller ranges; last, in either order, JPEG and a ringing
    low-pass with the resizing to the final size.
    """
    dice = Dice(generator)
    return torch.cat([_one(row, scale, dice) for row in x.split(1)])


def _one(x: Tensor, scale: int, dice: Dice) -> Tensor:
    height, width = x.shape[2] // scale, x.shape[3] // scale
    x = noisy(resized(blurred(x, FIRST, dice), FIRST, x.shape[2:], dice), FIRST, dice)
    x = compressed(x, dice)
    x = noisy(resized(blurred(x, SECOND, dice), SECOND, (height, width), dice), SECOND, dice)

    def finish(y: Tensor) -> Tensor:
        y = interpolate(y, (height, width), dice)
        if not dice.chance(FINAL_SINC):
            return y
        return convolve(y, sinc_kernel(SIZES[dice.pick((1.0,) * len(SIZES))], dice.uniform(math.pi / 3, math.pi)))

    x = compressed(finish(x), dice) if dice.chance(0.5) else finish(compressed(x, dice))
    return x.clamp(0, 1)


def blurred(x: Tensor, given: Stage, dice: Dice) -> Tensor:
    """The round's blur, if chance wants one."""
    return convolve(x, random_kernel(given, dice)) if dice.chance(given.blur) else x


def random_kernel(given: Stage, dice: Dice) -> Tensor:
    """A kernel of odd side: now and then a sinc, else a bell that may be long, heavy-tailed or flat on top."""
    side = SIZES[dice.pick((1.0,) * len(SIZES))]
    if dice.chance(SINC):
        return sinc_kernel(side, dice.uniform(math.pi / 3 if side < 13 else math.pi / 5, math.pi))
    shape = list(SHAPES)[dice.pick(tuple(SHAPES.values()))]
    first = dice.uniform(*given.sigma)
    second = first if dice.chance(ISOTROPIC[shape]) else dice.uniform(*given.sigma)
    distance = ellipse(side // 2, (first, second), dice.uniform(-math.pi, math.pi))
    low, high = BETA[shape]
    distance = distance ** (dice.uniform(low, 1) if dice.chance(0.5) else dice.uniform(1, high))
    return 1 / (1 + distance) if shape == "plateau" else torch.exp(-distance / 2)


def sinc_kernel(side: int, cutoff: float) -> Tensor:
    """The ideal low-pass in two dimensions, cut to `side` pixels: it rings at edges. `cutoff` in (0, pi]."""
    steps = torch.arange(side, dtype=torch.float64) - side // 2
    r = torch.hypot(steps[:, None], steps[None])
    ring = cutoff * torch.special.bessel_j1(cutoff * r) / (2 * math.pi * r.clamp_min(1e-9))
    ring[side // 2, side // 2] = cutoff**2 / (4 * math.pi)
    return ring.float()


def resized(x: Tensor, given: Stage, base: tuple[int, int] | torch.Size, dice: Dice) -> Tensor:
    """Enlarged, shrunk or left, by a random factor on the size `base`."""
    which = dice.pick(given.up_down_keep)
    low, high = given.resize
    factor = (dice.uniform(1, high), dice.uniform(low, 1), 1.0)[which]
    return interpolate(x, (max(1, round(base[0] * factor)), max(1, round(base[1] * factor))), dice)


def interpolate(x: Tensor, size: tuple[int, int], dice: Dice) -> Tensor:
    """To a size in one of three ways, without care for aliasing, as many programs do."""
    mode = ("area", "bilinear", "bicubic")[dice.pick((1.0, 1.0, 1.0))]
    return F.interpolate(x, size, mode=mode).clamp(0, 1)


def noisy(x: Tensor, given: Stage, dice: Dice) -> Tensor:
    """Gaussian noise, or that of counted photons which grows with the light; coloured or grey."""
    grey = dice.chance(GREY_NOISE)
    if dice.chance(0.5):
        shape = (1, 1 if grey else x.shape[1], *x.shape[2:])
        grain = torch.randn(shape, generator=dice.generator).to(x) * dice.uniform(*given.gaussian) / 255
        return (x + grain).clamp(0, 1)
    light = (luma(x) if grey else x).clamp(0, 1)
    levels = (light * 255).round().unique().numel()
    photons = 2 ** math.ceil(math.log2(max(levels, 2)))  # as many as the picture has grey values
    grain = torch.poisson(light * photons, generator=dice.generator) / photons - light
    return (x + grain * dice.uniform(*given.poisson)).clamp(0, 1)


def compressed(x: Tensor, dice: Dice) -> Tensor:
    """JPEG of random quality."""
    return jpeg(x.clamp(0, 1), torch.tensor([dice.uniform(*QUALITY)]))
