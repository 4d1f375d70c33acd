"""A linear code of whole pictures: principal components, kept as 8-bit integers.

For a few thousand drawings of 64 x 64 pixels, 512 numbers rebuild an unseen picture to about 24 dB, which no
autoencoder trained in minutes reaches; and a code needs no training. Each number is scaled by a small power of its
component's spread, near pixel space: whitened codes spend a network on grain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lienzo.data.sets import Pictures
from lienzo.nn.loading import fill_exactly

WHITENING = 0.25  # power of the spread: 0 is pixel space, 1 is white
MULTIPLE = 16  # new components come in so many, so that a seed draws the old ones the noise that it drew before


class LinearCode(nn.Module):
    """Codes (B, K) of pictures (B, 3, S, S) in [-1, 1].

    Args:
        size: side of the pictures.
        length: K, numbers in a code.
    """

    basis: Tensor
    step: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, size: int, length: int):
        super().__init__()
        self.config: dict[str, Any] = {"size": size, "length": length}
        self.size = size
        pixels = 3 * size * size
        self.register_buffer("basis", torch.zeros(length, pixels, dtype=torch.int8))  # rounded unit vectors
        self.register_buffer("step", torch.ones(length))  # what one integer step of each row is worth
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("spread", torch.ones(length))  # a code number's unit, in projected pixels

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] to (B, K)."""
        centred = images.flatten(1) - self.mean
        return centred @ self.basis.to(centred.dtype).T * (self.step / self.spread)

    def decode(self, codes: Tensor) -> Tensor:
        """(B, K) to (B, 3, S, S); values may leave [-1, 1] a little."""
        flat = (codes * self.spread * self.step) @ self.basis.to(codes.dtype) + self.mean
        return flat.unflatten(1, (3, self.size, self.size))


def picture_batches(images: Pictures, batch: int = 512) -> Iterator[Tensor]:
    """uint8 pictures (N, S, S, 3) in order, as (B, 3, S, S) in [-1, 1]."""
    for start in range(0, len(images), batch):
        rows = np.arange(start, min(start + batch, len(images)))
        yield torch.from_numpy(np.asarray(images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1


def _batches(images: Pictures) -> Iterator[Tensor]:
    return (part.flatten(1) for part in picture_batches(images))


@torch.no_grad()
def encode_all(code: LinearCode, images: Pictures) -> Tensor:
    """The codes (N, K) of uint8 pictures (N, S, S, 3)."""
    return torch.cat([code.encode(part) for part in picture_batches(images)])


@torch.no_grad()
def fit_linear_code(images: Pictures, length: int, seed: int = 0, rounds: int = 3) -> LinearCode:
    """The principal components of uint8 pictures (N, S, S, 3), by randomised subspace iteration.

    Halko, Martinsson and Tropp 2011 (arXiv 0909.4061); one pass over the pictures a round, memory of a few
    matrices (pixels, length).
    """
    size = images.shape[1]
    code = LinearCode(size, length)
    count = torch.zeros(3 * size * size, dtype=torch.float64)
    for x in _batches(images):
        count += x.sum(0).double()
    mean = (count / len(images)).float()
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(len(mean), length + 64, generator=generator)).Q
    for _ in range(rounds):
        product = torch.zeros_like(q)
        for x in _batches(images):
            centred = x - mean
            product += centred.T @ (centred @ q)
        q = torch.linalg.qr(product).Q
    small = torch.zeros(q.shape[1], q.shape[1])
    for x in _batches(images):
        projected = (x - mean) @ q
        small += projected.T @ projected
    values, vectors = torch.linalg.eigh(small / len(images))
    order = values.argsort(descending=True)[:length]
    basis = (q @ vectors[:, order]).T  # (length, pixels), orthonormal rows
    unit = _units(values[order].clamp_min(1e-12).sqrt())
    code.mean.copy_(mean)
    _write_rows(code, slice(0, length), basis, unit)
    return code


def _units(deviation: Tensor) -> Tensor:
    """What a code number of 1 is worth in each component, from the spread of its projections: (n,)."""
    unit = deviation**WHITENING
    return unit * (deviation / unit).square().mean().sqrt()  # code numbers have mean square 1


def _write_rows(code: LinearCode, rows: slice, basis: Tensor, unit: Tensor) -> None:
    """Put unit vectors (n, pixels) with the units of their numbers (n,) into some rows of a code."""
    step = basis.abs().amax(1).clamp_min(1e-12) / 127
    code.basis[rows] = (basis / step[:, None]).round().to(torch.int8)
    code.step[rows] = step
    code.spread[rows] = unit


@torch.no_grad()
def extend_linear_code(code: LinearCode, images: Pictures, most: int = 256, energy: float = 0.95) -> LinearCode:
    """The code with components added for what it loses of other pictures; its own rows stay as they are.

    The new rows are the principal directions of the pictures' residuals, made orthogonal to the old rows, as many (a
    multiple of `MULTIPLE`) as explain a share `energy` of the residuals' squares.

    Args:
        code: the code to extend.
        images: uint8 (N, S, S, 3) of the code's size, up to some thousands: memory grows with N squared.
        most: new rows at most; pictures fewer than that give at most their own number.
        energy: in (0, 1].
    """
    old = torch.linalg.qr(code.basis.float().T).Q  # (pixels, K)
    parts = []
    for x in picture_batches(images):
        rest = (x - code.decode(code.encode(x))).flatten(1)
        parts.append(rest - (rest @ old) @ old.T)
    residual = torch.cat(parts)  # (N, pixels)
    values, vectors = torch.linalg.eigh(residual @ residual.T)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    share = values.cumsum(0) / values.sum().clamp_min(1e-12)
    real = int((values > 1e-6 * values[0]).sum())
    wanted = min(int((share < energy).sum()) + 1, most, real)
    added = max(min(-(-wanted // MULTIPLE) * MULTIPLE, most // MULTIPLE * MULTIPLE, real // MULTIPLE * MULTIPLE), 0)
    basis = (residual.T @ (vectors[:, :added] / values[:added].sqrt())).T
    length = code.config["length"]
    wider = LinearCode(code.size, length + added)
    for name in ("basis", "step", "spread"):
        getattr(wider, name)[:length] = getattr(code, name)
    wider.mean.copy_(code.mean)
    if added:
        _write_rows(wider, slice(length, length + added), basis, _units((values[:added] / len(residual)).sqrt()))
    return wider


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a `LinearCode`."""
    return state.keys() == {"basis", "step", "mean", "spread"}


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> LinearCode:
    """The code; its size is read off the shapes. Raises `BadWeights` when keys or shapes do not fit."""
    length, pixels = state["basis"].shape
    with torch.device("meta"):
        code = LinearCode(round((pixels / 3) ** 0.5), length)
    return fill_exactly(code, state, "a linear code").eval()
