"""How long and how fast to train. No torch: these are options of commands."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from lienzo.core.options import Options


class Training(Options):
    """How long and how fast to train. Counts are in items (pictures or sentences), never in steps."""

    group: ClassVar[str] = "Training"

    images: int = Field(1_000_000, ge=1)
    """Training items to see in all."""
    minutes: float | None = Field(None, gt=0)
    """Stop, with a checkpoint, after so many minutes of this command; giving it again goes on."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate falls at the end of the run: linearly, along a cosine, or not at all."""
    warmup: int = Field(20_000, ge=0)
    """Items over which the rate rises linearly from 0."""
    fall: float = Field(0.4, ge=0, le=1)
    """Last share of the run over which the rate falls to 0."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay, on matrices and kernels only."""
    beta2: float = Field(0.99, gt=0, lt=1)
    """AdamW's second momentum."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    accumulate: int = Field(1, ge=1)
    """Forward passes whose gradients are summed before each optimiser step: a larger batch in the same memory."""
    checkpointing: bool = False
    """Compute blocks again in the backward pass: less memory, about a third more time."""
    ema_half_lives: tuple[int, ...] = Field((100_000,), min_length=1)
    """Items after which a weight's share in each moving average has halved; ramped up from the start. The first
    average is the one that samples, is evaluated and is saved as the model."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number type of the forward pass; weights and averages stay float32. fp16 needs CUDA."""
    compile: bool = False
    """Compile the network with torch.compile (worth it on CUDA)."""
    seed: int = Field(0, ge=0)
    """Seed of the initial weights, of the order of the data and of every random choice."""
    save_seconds: float = Field(60, gt=0)
    """Seconds between checkpoints."""
    look_images: int = Field(0, ge=0)
    """Items between evaluations and sample pictures; 0 means only at the end."""
    ahead: int = Field(2, ge=0, le=64)
    """Batches prepared ahead of time in other threads."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where figures and samples go besides metrics.jsonl; each needs its package (extra `track`)."""

    @field_validator("ema_half_lives")
    @classmethod
    def _averages_forget(cls, half_lives: tuple[int, ...]) -> tuple[int, ...]:
        if min(half_lives) < 1:
            raise ValueError(f"each half-life should be at least 1, not {min(half_lives)}")
        return half_lives

    @field_validator("learning_rate", "weight_decay")
    @classmethod
    def _rates_are_finite(cls, rate: float) -> float:
        if not math.isfinite(rate):
            raise ValueError(f"it should be a finite number, not {rate}")
        return rate
