"""Does a model copy its training pictures? Samples against the nearest of them, in pixels and in features.

A sample counts as a copy of a training picture when it is nearer to it than that picture is to itself moved by two
pixels: then no eye tells them apart for longer than a glance. (After the idea of Carlini et al. 2023, arXiv 2301.13188,
with a threshold that each picture sets for itself.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.data.sets import Pictures
from lienzo.imaging.grids import contact_sheet

SIDE = 64  # pixels at which pictures are compared
SHOWN = 96  # pixels of a picture on the sheet
SHIFT = 2  # pixels by which a copy may be moved, and by which the threshold is set
Features = Callable[[Tensor], Tensor]
"""Pictures (B, 3, H, W) in [0, 1] to features (B, D)."""


@dataclass(frozen=True)
class Nearest:
    """Of each sample the nearest training picture by one distance.

    Attributes:
        row: of the training picture, (N,).
        distance: to it, (N,).
        limit: that picture's distance to itself moved by two pixels, (N,).
    """

    row: np.ndarray
    distance: np.ndarray
    limit: np.ndarray

    @property
    def copied(self) -> np.ndarray:
        """Which samples are copies, (N,) bool."""
        return self.distance < self.limit


@dataclass(frozen=True)
class Memorised:
    """What was found: `pixels` by root mean square error in [0, 1], `features` by one minus the cosine."""

    pixels: Nearest
    features: Nearest | None

    def figures(self) -> dict[str, float]:
        """The share of copies by each distance, with its protocol."""
        n = len(self.pixels.row)
        found = {f"copies[rmse,{SIDE}px,shift={SHIFT},n={n}]": float(self.pixels.copied.mean())}
        if self.features is not None:
            found[f"copies[features,shift={SHIFT},n={n}]"] = float(self.features.copied.mean())
        return found

    def sheet(self, samples: np.ndarray, training: Pictures) -> np.ndarray:
        """Each sample beside its nearest training picture by pixels, the nearest pairs first: uint8 (H, W, 3)."""
        pictures, labels = [], []
        for i in np.argsort(self.pixels.distance - self.pixels.limit)[:32]:
            row = self.pixels.row[i]
            pictures += [_shown(samples[i]), _shown(np.asarray(training[np.array([row])])[0])]
            verdict = "copy" if self.pixels.copied[i] else "no copy"
            labels += [f"sample {i}", f"{verdict}: {self.pixels.distance[i]:.3f}, limit {self.pixels.limit[i]:.3f}"]
        return contact_sheet(pictures, labels, columns=8)


@torch.no_grad()
def memorised(samples: np.ndarray, training: Pictures, features: Features | None = None) -> Memorised:
    """Compare samples with every training picture.

    Args:
        samples: uint8 (N, S, S, 3).
        training: uint8 (M, S, S, 3), as the model saw them.
        features: a picture encoder, such as a CLIP tower, or None.

    Raises:
        BadInput: there is nothing to compare.
    """
    if not len(samples) or not len(training):
        raise BadInput("Copies are looked for among at least one sample and one training picture.")
    drawn = _pictures(np.asarray(samples))
    pixels = _Best(len(samples))
    seen = _Best(len(samples))
    windows = torch.stack([_moved(drawn, x, y).flatten(1) for x, y in _MOVES], 1)  # (N, 25, P)
    vectors = None if features is None else _unit(features(drawn))
    for start, part in _parts(training):
        middle = _moved(part, 0, 0).flatten(1)
        distance = torch.cdist(windows.flatten(0, 1), middle).unflatten(0, windows.shape[:2]).amin(1)
        edges = [(middle - _moved(part, x, y).flatten(1)).square().mean(1) for x, y in _EDGES]
        pixels.add(start, distance / middle.shape[1] ** 0.5, torch.stack(edges).mean(0).sqrt())
        if features is not None and vectors is not None:
            own = _unit(features(part))
            again = [_unit(features(_rolled(part, x, y))) for x, y in _EDGES]
            limit = torch.stack([1 - (own * other).sum(1) for other in again]).mean(0)
            seen.add(start, 1 - vectors @ own.T, limit)
    return Memorised(pixels.nearest(), None if features is None else seen.nearest())


_MOVES = [(x, y) for x in range(-SHIFT, SHIFT + 1) for y in range(-SHIFT, SHIFT + 1)]
_EDGES = [(SHIFT, 0), (-SHIFT, 0), (0, SHIFT), (0, -SHIFT)]


class _Best:
    """The nearest training picture of each sample so far."""

    def __init__(self, count: int):
        self.row = torch.zeros(count, dtype=torch.long)
        self.distance = torch.full((count,), torch.inf)
        self.limit = torch.zeros(count)

    def add(self, start: int, distance: Tensor, limit: Tensor) -> None:
        """`distance` (N, B) to the training pictures from row `start`, their `limit` (B,)."""
        near, place = distance.cpu().min(1)
        better = near < self.distance
        self.row[better] = start + place[better]
        self.limit[better] = limit.cpu()[place[better]]
        self.distance[better] = near[better]

    def nearest(self) -> Nearest:
        return Nearest(self.row.numpy(), self.distance.numpy(), self.limit.numpy())


def _parts(training: Pictures, batch: int = 256) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(training), batch):
        yield start, _pictures(np.asarray(training[np.arange(start, min(start + batch, len(training)))]))


def _pictures(images: np.ndarray) -> Tensor:
    """(B, 3, SIDE, SIDE) in [0, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return x if x.shape[-1] == SIDE else F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)


def _shown(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((SHOWN, SHOWN), Image.Resampling.LANCZOS))


def _moved(x: Tensor, right: int, down: int) -> Tensor:
    """The inner window of pictures, moved."""
    side = SIDE - 2 * SHIFT
    return x[..., SHIFT + down : SHIFT + down + side, SHIFT + right : SHIFT + right + side]


def _rolled(x: Tensor, right: int, down: int) -> Tensor:
    """Pictures moved as a whole, the border repeated."""
    padded = F.pad(x, (SHIFT,) * 4, mode="replicate")
    return padded[..., SHIFT + down : SHIFT + down + SIDE, SHIFT + right : SHIFT + right + SIDE]


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.float(), dim=-1)
