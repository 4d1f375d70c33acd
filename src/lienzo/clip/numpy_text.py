"""The text side of a compact CLIP in numpy: sentences to vectors, without torch, whose import takes a second or two.

The same numbers as `SentenceEncoder` followed by `CompactClip.encode_text`, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.clip.ngrams import MAX_WORDS, ngram_buckets, words_of
from lienzo.core.errors import BadWeights
from lienzo.weights.arrays import Arrays

BATCH = 256
_EPS = 1e-5  # of layer norms


class NumpyText:
    """Sentences to unit vectors in the space of a compact CLIP.

    Args:
        clip: the file of the compact CLIP.
        sentence: the file of the sentence encoder that it was trained on.

    Attributes:
        dim: length of the vectors.
        scale: what the CLIP multiplies cosines by.

    Raises:
        BadWeights: a file is broken or of another network.
    """

    def __init__(self, clip: Path, sentence: Path):
        encoder, head = Arrays(sentence), Arrays(clip)
        if encoder.network != "sentence" or head.network != "compact-clip":
            raise BadWeights(f"'{clip.name}' and '{sentence.name}' are no compact CLIP and sentence encoder.")
        self.layers, self.heads = (_count(encoder, key) for key in ("layers", "heads"))
        self.table = encoder.read("grams.weight")  # half precision: a sentence needs few of its rows
        self.own = {
            key: encoder.read(key).astype(np.float32)
            for key in ("positions", "norm.weight", "norm.bias", "project.weight", "project.bias")
        }
        self.own |= {
            f"{i}.{key}": encoder.read(f"transformer.layers.{i}.{key}").astype(np.float32)
            for i in range(self.layers)
            for key in _LAYER
        }
        self.own |= {key: head.read(key).astype(np.float32) for key in _HEAD}
        self._check()
        self.dim = len(self.own["text_skip.bias"])
        try:
            self.scale = math.exp(float(head.read("logit_scale")))
        except (TypeError, OverflowError) as error:
            raise BadWeights(f"The model '{head.name}' has no sensible scale of cosines.") from error

    def _check(self) -> None:
        own, width = self.own, self.table.shape[-1]
        words, between = own["project.weight"].shape[:1], own["text_head.0.weight"].shape[:1]
        dim = own["text_skip.bias"].shape
        wanted = {"positions": (MAX_WORDS, width), "project.weight": (*words, width)}
        wanted |= {"text_head.0.weight": between + words, "text_head.3.weight": dim + between}
        wanted |= {"text_skip.weight": dim + words}
        fits = all(own[key].shape == shape for key, shape in wanted.items()) and self.table.ndim == 2
        if not fits or width % self.heads:
            raise BadWeights("The compact CLIP and the sentence encoder do not fit each other.")

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 unit vectors (N, dim)."""
        parts = [self._vectors(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        x = _unit(self._sentences(texts))
        x *= np.float32(math.sqrt(x.shape[1]))
        hidden = _gelu(self._linear("text_head.0", x))
        return _unit(self._linear("text_head.3", hidden) + self._linear("text_skip", x))

    def _sentences(self, texts: Sequence[str]) -> np.ndarray:
        """Sentence vectors (B, text_dim), not normalised."""
        sentences = [words_of(text) for text in texts]
        lengths = np.array([len(sentence) for sentence in sentences])
        real = np.arange(lengths.max()) < lengths[:, None]  # (B, L)
        x = np.zeros((*real.shape, self.table.shape[1]), np.float32)  # (B, L, W)
        x[real] = self._words([word for sentence in sentences for word in sentence])
        x += self.own["positions"][: real.shape[1]]
        for i in range(self.layers):
            x = x + self._attention(i, self._norm(f"{i}.norm1", x), real)
            hidden = _gelu(self._linear(f"{i}.linear1", self._norm(f"{i}.norm2", x)))
            x = x + self._linear(f"{i}.linear2", hidden)
        mean = (x * real[..., None]).sum(1) / lengths[:, None].astype(np.float32)
        return self._linear("project", self._norm("norm", mean))

    def _words(self, words: Sequence[str]) -> np.ndarray:
        """The mean row of each word's buckets, (words, W)."""
        known: dict[str, np.ndarray] = {}
        for word in words:
            if word not in known:
                rows = list(ngram_buckets(word, len(self.table)))
                known[word] = self.table[rows].astype(np.float32).mean(0)
        return np.stack([known[word] for word in words])

    def _attention(self, i: int, x: np.ndarray, real: np.ndarray) -> np.ndarray:
        batch, length, width = x.shape
        qkv = x @ self.own[f"{i}.self_attn.in_proj_weight"].T + self.own[f"{i}.self_attn.in_proj_bias"]
        q, k, v = qkv.reshape(batch, length, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)  # each (B, H, L, W/H)
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(math.sqrt(width // self.heads))
        scores = np.where(real[:, None, None], scores, np.float32(-np.inf))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        return self._linear(f"{i}.self_attn.out_proj", mixed.transpose(0, 2, 1, 3).reshape(batch, length, width))

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.own[f"{name}.weight"].T + self.own[f"{name}.bias"]

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(_EPS))
        return centred / deviation * self.own[f"{name}.weight"] + self.own[f"{name}.bias"]


_LAYER = (
    *("self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight", "self_attn.out_proj.bias"),
    *(f"{part}.{kind}" for part in ("norm1", "norm2", "linear1", "linear2") for kind in ("weight", "bias")),
)
_HEAD = tuple(f"{part}.{kind}" for part in ("text_head.0", "text_head.3", "text_skip") for kind in ("weight", "bias"))


def _count(arrays: Arrays, key: str) -> int:
    value: Any = arrays.config.get(key)
    if type(value) is not int or not 1 <= value <= 1000:
        raise BadWeights(f"The model '{arrays.name}' has no sensible value '{key}'.")
    return value


def _gelu(x: np.ndarray) -> np.ndarray:
    return (x * 0.5 * (1 + _erf(x / math.sqrt(2)))).astype(np.float32)


def _erf(x: np.ndarray) -> np.ndarray:
    """The error function, within 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    z = np.abs(x).astype(np.float64)
    t = 1 / (1 + 0.3275911 * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - series * np.exp(-z * z))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
