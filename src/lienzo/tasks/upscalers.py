"""The SwinIR of a task: opened by name or file."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.upscaling.enlarge import Enlarged, enlarge
from lienzo.upscaling.swinir import SwinIR
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve


class Upscaler:
    """A SwinIR with its file."""

    def __init__(self, model: SwinIR, path: Path, device: torch.device):
        self.model, self.path, self.device = model, path, device
        self.scale: int = model.scale

    def enlarge(self, pictures: Tensor, tile: int | None = 128) -> Generator[Event, None, Tensor]:
        """Enlarge pictures (B, 3, H, W) in [-1, 1]; yields progress, returns them in [-1, 1]."""
        for event in enlarge(self.model, ((pictures + 1) / 2).to(self.device), tile=tile):
            if isinstance(event, Enlarged):
                return event.images * 2 - 1
            yield event
        raise RuntimeError("enlarge ended without a picture")


def open_upscaler(name: str, device: torch.device) -> Upscaler | None:
    """The named SwinIR, or None for ``none``.

    Raises:
        BadInput: the file is of another network.
    """
    if name == "none":
        return None
    path = resolve(name)
    model = load_model(path, device)
    if not isinstance(model, SwinIR):
        raise BadInput(f"'{name}' is no SwinIR; --upscaler takes the bundled one, a SwinIR file, or none.")
    return Upscaler(model, path, device)
