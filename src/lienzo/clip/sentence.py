"""A small sentence encoder: words as bags of hashed letter n-grams, one transformer layer, one vector.

It is a student of all-MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957): its vectors imitate the teacher's for
English, and the teacher's vector of the English translation for Spanish and Russian. N-grams (Bojanowski et al.
2017, arXiv 1607.04606) let it read misspelt and unseen words; 6 MB do the work of 90.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.clip.ngrams import MAX_WORDS, ngram_buckets, words_of
from lienzo.nn.loading import fill_exactly


class SentenceEncoder(nn.Module):
    """Sentences to unit vectors.

    Args:
        buckets: rows of the hashed n-gram table.
        width: word-vector and transformer width.
        layers: transformer layers, their hidden layer twice as wide.
        heads: attention heads.
        embed_dim: length of the sentence vector (the teacher's: 384).
    """

    def __init__(
        self, *, buckets: int = 12288, width: int = 192, layers: int = 1, heads: int = 4, embed_dim: int = 384
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "buckets": buckets,
            "width": width,
            "layers": layers,
            "heads": heads,
            "embed_dim": embed_dim,
        }
        self.buckets = buckets
        self.grams = nn.EmbeddingBag(buckets, width, mode="mean")
        self.positions = nn.Parameter(0.02 * torch.randn(MAX_WORDS, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, embed_dim)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (B, embed_dim) of `texts`."""
        sentences = [words_of(text) for text in texts]
        bags = [ngram_buckets(word, self.buckets) for sentence in sentences for word in sentence]
        lengths = torch.tensor([len(sentence) for sentence in sentences])
        device = self.positions.device
        flat = torch.tensor([bucket for bag in bags for bucket in bag], device=device)
        starts = torch.tensor([0, *(len(bag) for bag in bags[:-1])]).cumsum(0).to(device)
        words = self.grams(flat, starts)  # (all words, width)
        longest = int(lengths.max())
        real = (torch.arange(longest) < lengths[:, None]).to(device)  # (B, L)
        x = words.new_zeros(len(texts), longest, words.shape[1])
        x[real] = words
        x = self.transformer(x + self.positions[:longest].to(x.dtype), src_key_padding_mask=~real)
        mean = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return F.normalize(self.project(self.norm(mean)).float(), dim=-1)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a `SentenceEncoder`."""
    return {"grams.weight", "positions", "project.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> SentenceEncoder:
    """The encoder in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = SentenceEncoder(**(config or {}))
    return fill_exactly(model, state, "a sentence encoder").eval().requires_grad_(False)
