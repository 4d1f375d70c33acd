"""What a feature net is to the metrics: 8-bit pictures of any size in, one row of numbers a picture out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput


@dataclass(frozen=True)
class Features:
    """What a net says of N pictures: `rows` (N, D), and `logits` (N, classes) where it tells classes; float32, CPU."""

    rows: Tensor
    logits: Tensor | None = None


class Rows(Protocol):
    """Pictures that are read by an integer array of rows, as those of a data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


@dataclass(frozen=True)
class FeatureNet:
    """A network with the one way of resizing that belongs to its figures.

    Resizing is done on the CPU on every machine, so that a figure does not depend on the device.

    Attributes:
        tag: the net's name for a protocol.
        sha: the first 8 hexadecimal digits of the sha256 of its weight file.
        resize: the name of the resizing.
        dim: numbers in a row.
        logits: whether it tells classes, as the inception score needs.
        prepare: uint8 (B, 3, H, W) of one size to the network's input.
        embed: that input to rows (B, dim) and logits.
        device: where `embed` runs.
        encode_text: sentences to unit rows (N, dim) on the CPU, for nets whose space holds both; else None.
    """

    tag: str
    sha: str
    resize: str
    dim: int
    logits: bool
    prepare: Callable[[Tensor], Tensor]
    embed: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    device: torch.device
    encode_text: Callable[[list[str]], Tensor] | None = None

    @property
    def made(self) -> dict[str, str]:
        """How its features are made, as the protocol of a figure says it."""
        return {"net": self.tag, "sha": self.sha, "resize": self.resize}

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray | Rows | Sequence[np.ndarray], *, batch_size: int = 32) -> Features:
        """Features of pictures, in their order.

        Args:
            pictures: uint8 (N, H, W, 3), in memory or read by rows, or a list of uint8 (H, W, 3) of any sizes.
            batch_size: pictures that go through the network at once.

        Raises:
            BadInput: there are none, or they are not 8-bit RGB.
        """
        if batch_size < 1:
            raise BadInput(f"A batch holds at least 1 picture; {batch_size} was asked for.")
        if len(pictures) == 0:
            raise BadInput("There are no pictures to measure.")
        rows, logits = [], []
        for start in range(0, len(pictures), batch_size):
            prepared = self._prepared([_checked(picture) for picture in _some(pictures, start, batch_size)])
            row, logit = self.embed(prepared.to(self.device))
            rows.append(row.float().cpu())
            if logit is not None:
                logits.append(logit.float().cpu())
        return Features(torch.cat(rows), torch.cat(logits) if logits else None)

    def _prepared(self, pictures: list[np.ndarray]) -> Tensor:
        """The network's input for pictures of any sizes; those of one size are resized together."""
        places: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            places.setdefault(picture.shape, []).append(index)
        found: dict[int, Tensor] = {}
        for indices in places.values():
            stack = torch.from_numpy(np.stack([pictures[i] for i in indices])).permute(0, 3, 1, 2)
            found.update(zip(indices, self.prepare(stack.contiguous())))
        return torch.stack([found[i] for i in range(len(pictures))])


def _some(pictures: np.ndarray | Rows | Sequence[np.ndarray], start: int, count: int) -> Iterable[np.ndarray]:
    stop = min(start + count, len(pictures))
    if isinstance(pictures, Sequence):
        return pictures[start:stop]
    return pictures[np.arange(start, stop)]


def _checked(picture: np.ndarray) -> np.ndarray:
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        kind = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        raise BadInput(f"A feature net reads pictures of 8-bit numbers (uint8 arrays); this one is {kind}.")
    if picture.ndim != 3 or picture.shape[-1] != 3 or 0 in picture.shape:
        raise BadInput(f"A feature net reads RGB pictures (H, W, 3); this one is {picture.shape}.")
    return picture
