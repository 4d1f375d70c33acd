"""CLIPs and SigLIPs in torch as embedders: one tower at a time, from a file of any layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.clip import layouts, siglip, siglip_layouts
from lienzo.clip import model as clip
from lienzo.clip.picture_settings import PictureSettings, settings_beside
from lienzo.clip.picture_tower import PictureTower
from lienzo.clip.tokenizer import MERGES, tokenize
from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.weights.arrays import KEY
from lienzo.weights.beside import clip_config_beside
from lienzo.weights.detection import identify
from lienzo.weights.models import read_record
from lienzo.weights.places import sha256, weights_digest
from lienzo.weights.reading import read_weights

TEXTS = 64  # of one forward pass
VOCABULARY = 512 + MERGES + 2
_BROKEN = (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)


class TowerEmbedder:
    """See `lienzo.clip.embedder.Embedder`. Texts too long for the network are cut.

    Raises:
        BadInput: the file is of another network.
        BadWeights: it is broken.
    """

    def __init__(self, path: Path, device: str | torch.device | None, towers: str = "both"):
        self.path = path
        self.device = torch.device("cpu" if device is None else device)
        self.state, self.module, self.given = _opened(path)
        self.config = self._sized()
        family = "clip" if self.module is clip else "siglip"
        self.settings: PictureSettings = settings_beside(path, self.state, family, self.config["image_resolution"])
        self.prepare = self.settings.prepare
        self.size: int = self.config["image_resolution"]
        self.dim: int = self.config["embed_dim" if family == "clip" else "vision_width"]
        with self._fitting():
            self.scale = math.exp(float(self.state["logit_scale"].float()))
            self.bias = float(self.state["logit_bias"].float()) if "logit_bias" in self.state else 0.0
        self.tag = f"{weights_digest(path)[:16]}:{self.settings.tag}"
        self.former: tuple[str, ...] = (f"{sha256(path)[:16]}:{self.settings.tag}",)
        if towers != "text":
            _ = self.tower
        if towers != "image":
            _ = self.text

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Whatever a strange file breaks inside is `BadWeights`."""
        try:
            yield
        except _BROKEN as error:
            raise BadWeights(f"The weight file '{printable(self.path.name)}' does not fit its network.") from error

    def _sized(self) -> dict[str, Any]:
        """The complete arguments of the network, whose weights are not touched."""
        with self._fitting():
            if self.module is siglip:
                return siglip_layouts.read(self.state, self.given)[1]
            return clip.read_config(clip.in_openai_layout(self.state), self.given)

    @cached_property
    def tower(self) -> PictureTower:
        """The image tower, loaded when first asked for."""
        with self._fitting():
            tower = (
                siglip.load(self.state, self.given).vision_model
                if self.module is siglip
                else clip.load_visual(self.state, self.given)
            )
        return PictureTower(tower, tower, self.size, self.settings.mean, self.settings.std, self.device)

    @cached_property
    def text(self) -> Callable[[Sequence[str]], Tensor]:
        """Sentences to embeddings (N, D); the text tower and its tokenizer are loaded when first asked for."""
        with self._fitting():
            return self._siglip_text() if self.module is siglip else self._clip_text()

    def _clip_text(self) -> Callable[[Sequence[str]], Tensor]:
        if self.config["vocab_size"] != VOCABULARY:
            found = self.config["vocab_size"]
            raise BadInput(f"This CLIP reads {found} token ids where OpenAI's tokenizer gives {VOCABULARY}.")
        tower = clip.load_text(_without_pictures(self.state), self.given).to(self.device)
        length = tower.context_length
        return lambda texts: tower.encode_text(tokenize(texts, length, truncate=True).to(self.device))

    def _siglip_text(self) -> Callable[[Sequence[str]], Tensor]:
        from lienzo.clip.sentence_pieces import read_tokenizer

        tokens = read_tokenizer(self.path, self.config["context_length"], self.config["vocab_size"])
        tower = siglip.load(self.state, self.given).text_model.to(self.device)
        return lambda texts: tower(torch.from_numpy(tokens(texts)).to(self.device))

    def pictures(self, batch: np.ndarray) -> np.ndarray:
        return self.tower(batch)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        parts = [np.zeros((0, self.dim), np.float32)]
        with torch.inference_mode():
            for i in range(0, len(texts), TEXTS):
                vectors = F.normalize(self.text(list(texts[i : i + TEXTS])).float(), dim=-1)
                parts.append(vectors.cpu().numpy())
        return np.concatenate(parts)


def _opened(path: Path) -> tuple[Mapping[str, Tensor], ModuleType, Mapping[str, Any] | None]:
    """The mapped tensors of a CLIP or SigLIP, its module, and what is known of it beside the shapes."""
    weights = read_weights(path)
    config: Mapping[str, Any] | None
    if KEY in weights.metadata:
        record = read_record(path)
        network, config = record["network"], record["config"]
        module = {"clip": clip, "siglip": siglip}.get(network)
    else:
        network, found = identify(weights.tensors)
        module = found if found in (clip, siglip) else None
        config = clip_config_beside(path, weights.tensors) if module else None
    if module is None:
        raise BadInput(f"'{printable(path.name)}' is no CLIP but of the network '{printable(network, 40)}'.")
    return weights.tensors, module, config


def _without_pictures(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the text side, in any layout, so that those of the other tower stay on the disk."""
    own = {k: v for k, v in state.items() if not k.startswith(("visual.", "vision_model.", "visual_projection."))}
    if not layouts.is_huggingface(own) and "text.token_embedding.weight" in own:
        return layouts.from_custom_text(own)
    return own
