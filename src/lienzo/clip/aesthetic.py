"""Aesthetic heads: small networks that turn a CLIP's picture embedding into how much people like the picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadWeights
from lienzo.nn.loading import fill_exactly

PREDICTOR = (1024, 128, 64, 16)
"""Hidden widths of improved-aesthetic-predictor."""
DROPOUT = (0.2, 0.2, 0.1, 0.0)
_LAYER = re.compile(r"layers\.(\d{1,3})\.(weight|bias)")


class AestheticHead(nn.Module):
    """improved-aesthetic-predictor's head: five linear layers without activations between them.

    Without them it is one linear map written as five; the layers are kept so that its weights load as they are.
    LAION's aesthetic-predictor, a single layer, is `hidden=()`.

    Args:
        width: of the embedding, 768 for CLIP ViT-L/14.
        hidden: widths of the layers between.
        dropout: share of values dropped behind each hidden layer in training.
    """

    def __init__(self, width: int = 768, hidden: Sequence[int] = PREDICTOR, dropout: Sequence[float] = DROPOUT):
        super().__init__()
        self.config: dict[str, Any] = {"width": width, "hidden": list(hidden), "dropout": list(dropout)}
        self.width = width
        layers: list[nn.Module] = []
        for before, after, share in zip((width, *hidden), hidden, dropout):
            layers.append(nn.Linear(before, after))
            if share:
                layers.append(nn.Dropout(share))
        self.layers = nn.Sequential(*layers, nn.Linear((width, *hidden)[-1], 1))

    def forward(self, embeds: Tensor) -> Tensor:
        """Scores (B, 1), mostly 1 to 10, of embeddings (B, width) of unit length."""
        return self.layers(embeds)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether these are linear layers in a row that end in one number."""
    state = _layered(state)
    if not state or not all(_LAYER.fullmatch(key) for key in state):
        return False
    weights = [state[f"layers.{place}.weight"] for place in _places(state)]
    return all(weight.ndim == 2 for weight in weights) and weights[-1].shape[0] == 1


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> AestheticHead:
    """A head in evaluation mode.

    Args:
        state: of improved-aesthetic-predictor (``layers.0.weight`` ...) or aesthetic-predictor (``weight``, ``bias``).
        config: constructor arguments; without, widths are told by shapes, and where dropout stands by gaps in the
            numbers of the layers.

    Raises:
        BadWeights: they are of no such head; the sentence names the first key that does not fit.
    """
    state = _layered(state)
    if not detect(state):
        raise BadWeights(
            "The weights are not those of an aesthetic head: they are no row of linear layers to 1 number."
        )
    places = _places(state)
    widths = [state[f"layers.{place}.weight"].shape[1] for place in places]
    gaps = [after - before > 1 for before, after in pairwise(places)]
    usual = DROPOUT if len(gaps) == len(DROPOUT) else (0.1,) * len(gaps)
    read: dict[str, Any] = {
        "width": widths[0],
        "hidden": widths[1:],
        "dropout": [share if gap else 0.0 for gap, share in zip(gaps, usual)],
    }
    with torch.device("meta"):
        head = AestheticHead(**(read | dict(config or {})))
    return fill_exactly(head, state, "an aesthetic head").eval()


def _layered(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The keys of a single layer as those of a row of one."""
    return {f"layers.0.{key}": value for key, value in state.items()} if set(state) == {"weight", "bias"} else state


def _places(state: Mapping[str, Tensor]) -> list[int]:
    return sorted({int(match[1]) for key in state if (match := _LAYER.fullmatch(key)) and match[2] == "weight"})
