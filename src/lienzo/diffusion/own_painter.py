"""A painter in one file: the linear code of an artist's pictures and the network that paints in it.

The bundled painter keeps its code in a file of its own, which others share; a painter that somebody trained on a folder
carries it along, so that the file alone is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.linear_code import LinearCode
from lienzo.nn.loading import fill_exactly


class OwnPainter(nn.Module):
    """A `CodePainter` with its `LinearCode`; called like the former.

    Args:
        size: side of the pictures in pixels.
        painter: arguments of `CodePainter`.
        known: some of the captions that it was trained on: what it can draw.
    """

    def __init__(self, *, size: int = 64, painter: Mapping[str, Any] | None = None, known: Sequence[str] = ()):
        super().__init__()
        self.painter = CodePainter(**(painter or {}))
        self.code = LinearCode(size, self.painter.config["length"])
        self.config: dict[str, Any] = {"size": size, "painter": self.painter.config, "known": list(known)}

    def forward(self, x: Tensor, t: Tensor, *, text: Tensor, style: Tensor, keep: Tensor | None = None) -> Tensor:
        """The clean code (B, K) of a noisy one; see `CodePainter.forward`."""
        return self.painter(x, t, text=text, style=style, keep=keep)


def joined(painter: CodePainter, code: LinearCode, known: Sequence[str] = ()) -> OwnPainter:
    """Both as one network that shares their tensors."""
    with torch.device("meta"):
        model = OwnPainter(size=code.size, painter=painter.config, known=known)
    model.painter, model.code = painter, code
    return model


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is an `OwnPainter`."""
    return {"code.basis", "painter.no_text", "painter.enter.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> OwnPainter:
    """The painter in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = OwnPainter(**(config or {}))
    return fill_exactly(model, state, "a painter with its code").eval().requires_grad_(False)
