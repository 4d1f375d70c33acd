"""How a latent diffusion model of Lienzo reads texts: by a sentence encoder, or by the text tower of a CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.clip.model import CLIP
from lienzo.clip.sentence import SentenceEncoder
from lienzo.clip.tokenizer import tokenize
from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256

AT_ONCE = 256


class TextReader:
    """Texts to what a `LatentDenoiser` is told.

    Args:
        name: ``sentence``, or the file of a CLIP.
        states: of a CLIP: all states of its tower, padded to its length, instead of one unit vector a text.
        device: where to compute.

    Raises:
        BadInput: the model is neither.
    """

    def __init__(self, name: str, states: bool, device: torch.device):
        path = resolve(name)
        self.model = load_model(path, device)
        if not isinstance(self.model, CLIP | SentenceEncoder):
            raise BadInput(
                f"'{printable(name)}' reads no texts for latent diffusion; take sentence, or the file of a CLIP."
            )
        self.states, self.device = states and isinstance(self.model, CLIP), device
        self.about: dict[str, Any] = {"encoder": name, "sha256": sha256(path), "states": self.states}

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(N, L, D) float32 on the device."""
        parts = [self._read(texts[first : first + AT_ONCE]) for first in range(0, len(texts), AT_ONCE)]
        return torch.cat(parts).float()

    def _read(self, texts: Sequence[str]) -> Tensor:
        if not isinstance(self.model, CLIP):
            return self.model(texts)[:, None]
        tokens = tokenize(list(texts), self.model.context_length, truncate=True).to(self.device)
        if self.states:
            return self.model.text_states(tokens)
        return F.normalize(self.model.encode_text(tokens).float(), dim=-1)[:, None]


def reader_of(read: Mapping[str, Any], device: torch.device) -> TextReader:
    """The reader that a trained model names.

    Raises:
        BadInput: the text encoder is not there, or another than the model was trained with.
    """
    reader = TextReader(read["encoder"], read["states"], device)
    if reader.about["sha256"] != read["sha256"]:
        raise BadInput(
            f"The model was trained with another text encoder than the present '{printable(read['encoder'])}'; put "
            "that file back."
        )
    return reader
