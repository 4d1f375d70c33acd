"""What the loop asks of a recipe: `build`, `batch`, `step`, `evaluate`, `samples`."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from pydantic import Field
from torch import Generator, Tensor, nn

from lienzo.core.options import Options

Batch = dict[str, Tensor]


class Recipe(Protocol):
    """One way of training one network. It holds its data and knows nothing of devices, EMA or files."""

    name: str
    batch_size: int

    def build(self) -> nn.Module:
        """The network, freshly initialised (the loop seeds torch before the call)."""

    def batch(self, images_seen: int, generator: Generator) -> Batch:
        """The batch after `images_seen` training items; every random choice comes from `generator` (CPU)."""

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses; their sum is minimised."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on withheld data, by name with protocol, e.g. ``psnr[rgb]``; may be empty."""

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """A uint8 picture (H, W, 3) that shows what the network can do now, or None."""


class Training(Options):
    """How long and how fast to train. Counts are in items (pictures or sentences), never in steps."""

    images: int = Field(1_000_000, ge=1)
    """Training items to see in all."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(20_000, ge=0)
    """Items over which the rate rises linearly from 0."""
    fall: float = Field(0.4, ge=0, le=1)
    """Last share of the run over which the rate falls linearly to 0."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay, on matrices and kernels only."""
    beta2: float = Field(0.99, gt=0, lt=1)
    """AdamW's second momentum."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    ema_half_life: int = Field(100_000, ge=1)
    """Items after which a weight's share in the moving average has halved; ramped up from the start."""
    bf16: bool = False
    """bfloat16 autocast."""
    seed: int = Field(0, ge=0)
    """Seed of the initial weights, of the order of the data and of every random choice."""
    save_seconds: float = Field(60, gt=0)
    """Seconds between checkpoints."""
    look_images: int = Field(0, ge=0)
    """Items between evaluations and sample pictures; 0 means only at the end."""
