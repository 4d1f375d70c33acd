"""What the metrics compare: the features of one set of pictures, with how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.metrics.protocol import Protocol, comparable


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """One set of pictures as a feature net sees it.

    Attributes:
        rows: (N, D) float32 or float64, one row a picture; N at least 2.
        logits: (N, C) unnormalised class scores, where the net has classes.
        made: How the rows were made, e.g. ``{"net": "inception", "sha": "6726825d", "resize": "clean"}``. It opens
            the protocol of each figure, and two sets of which it differs are not compared.

    Raises:
        BadInput: the numbers have another shape, or are not all finite.
    """

    rows: Tensor
    logits: Tensor | None = None
    made: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_rows(self.rows, "Features")
        if self.logits is not None:
            check_rows(self.logits, "Logits")
            if len(self.logits) != len(self.rows):
                raise BadInput(f"There are logits of {len(self.logits)} pictures but features of {len(self.rows)}.")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        return self.rows.shape[1]


def check_rows(rows: Tensor, what: str) -> None:
    """Pass where `rows` is a finite floating-point (N, D) with at least 2 rows; BadInput in one sentence else."""
    if rows.ndim != 2 or not rows.is_floating_point() or rows.shape[1] == 0:
        raise BadInput(f"{what} must be decimal numbers (N, D); these are {rows.dtype} {tuple(rows.shape)}.")
    if len(rows) < 2:
        raise BadInput(f"{what} of at least 2 pictures are needed; there {'is 1' if len(rows) else 'are none'}.")
    if not torch.isfinite(rows).all():
        raise BadInput(f"{what} must be finite; these hold a NaN or an infinity.")


def check_pair(real: FeatureSet, fake: FeatureSet) -> None:
    """Pass where two sets may be compared: made alike and equally wide; BadInput in one sentence else."""
    check_made(real.made, fake.made)
    check_dims(real.dim, fake.dim)


def check_made(real: Mapping[str, str], fake: Mapping[str, str]) -> None:
    """Pass where the features of two sets were made alike."""
    comparable(Protocol.of("features", real), Protocol.of("features", fake))


def check_dims(real: int, fake: int) -> None:
    """Pass where rows are equally wide."""
    if real != fake:
        raise BadInput(f"The real features have {real} numbers a picture, the generated ones {fake}.")
