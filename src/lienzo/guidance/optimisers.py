"""Optimisers by name: torch's own, with the settings that painting wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lienzo.core.tables import Names

OPTIMISERS = Names(
    "optimiser",
    {
        "adam": "torch.optim:Adam",
        "adamw": "torch.optim:AdamW",
        "radam": "torch.optim:RAdam",
        "nadam": "torch.optim:NAdam",
        "adamax": "torch.optim:Adamax",
        "adagrad": "torch.optim:Adagrad",
        "rmsprop": "torch.optim:RMSprop",
        "sgd": "torch.optim:SGD",
    },
)

_SHORT = {"betas": (0.9, 0.99)}  # a painting has hundreds of steps, not hundreds of thousands
_SETTINGS: dict[str, dict[str, Any]] = {
    "adam": _SHORT, "adamw": {**_SHORT, "weight_decay": 0.0}, "radam": _SHORT, "nadam": _SHORT, "adamax": _SHORT,
    "rmsprop": {"alpha": 0.99}, "sgd": {"momentum": 0.9},
}  # fmt: skip


def make_optimiser(name: str, parameters: Sequence[Tensor], lr: float) -> torch.optim.Optimizer:
    """The named optimiser of `parameters`.

    Args:
        lr: learning rate, in units of the parameters; for sgd in those over the gradient's, which is small, so
            that it wants a thousand times more than the others.

    Raises:
        BadInput: there is no such optimiser; the sentence names the closest.
    """
    return OPTIMISERS.load(name)(list(parameters), lr=lr, **_SETTINGS.get(name, {}))
