"""The optimiser and its learning rate, by items seen."""

from __future__ import annotations

import math

import torch
from torch import nn

from lienzo.training.plan import Training


def rate_at(images_seen: int, plan: Training) -> float:
    """Learning rate after `images_seen` items: linear rise, plateau, and the plan's fall at the end."""
    rise = min(1.0, (images_seen + 1) / plan.warmup) if plan.warmup else 1.0
    left = 1 - images_seen / plan.images
    share = min(1.0, max(left, 0.0) / plan.fall) if plan.fall else 1.0  # 1 before the fall, 0 at the end
    fall = {"linear": share, "cosine": (1 - math.cos(math.pi * share)) / 2, "constant": 1.0}[plan.schedule]
    return plan.learning_rate * rise * fall


def make_optimizer(model: nn.Module, plan: Training) -> torch.optim.AdamW:
    """AdamW with decay on matrices and kernels, none on gains, biases and scalars."""
    weights = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": plan.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = weights[0].device.type == "cuda"
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, plan.beta2), fused=fused)
