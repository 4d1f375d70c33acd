"""Which device and number type a task computes in."""

from __future__ import annotations

from typing import Literal

import torch

from lienzo.core.errors import BadInput

Device = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(name: Device) -> torch.device:
    """The named device; `auto` is the first of CUDA, MPS and CPU that works here.

    Raises:
        BadInput: the device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, works in there.items() if works))
    if not there[name]:
        raise BadInput(f"This machine offers no device '{name}'; use --device cpu.")
    return torch.device(name)
