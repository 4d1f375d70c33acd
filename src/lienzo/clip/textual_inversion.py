"""Textual inversion: words that a text encoder learned later, as files of a few vectors each.

A learned word stands for one or more vectors in place of rows of the text encoder's table of tokens (Gal et al. 2022,
"An Image is Worth One Word", arXiv:2208.01618). Read are the files of stable-diffusion-webui and of the paper
(`string_to_param`), of diffusers (`{"<word>": vector}`) and of kohya's scripts (`emb_params`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lienzo.clip.tokenizer import encode
from lienzo.clip.transformer import TextTower
from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.weights.reading import Weights, read_weights

NO_WORDS = ("*", "emb_params")
"""Names of tensors that are the same in every file."""
XL = frozenset(("clip_g", "clip_l"))
FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 1280: "Stable Diffusion XL"}
"""The families of the public models by the width of their text encoder."""

Words = Mapping[str, tuple[int, ...]]
"""Learned words and the token ids that they stand for."""


@dataclass(frozen=True)
class Embedding:
    """A learned word: all its spellings, and its vectors (N, W), float32."""

    words: tuple[str, ...]
    vectors: Tensor


def read_embedding(path: str | Path, word: str = "") -> Embedding:
    """Read a file of textual inversion.

    Args:
        path: the file.
        word: how the word is written in prompts; by default as the file is named, without its ending, and also as the
            file itself calls it.

    Raises:
        BadWeights: the file holds no learned word or several, or numbers that are not finite.
    """
    path = Path(path)
    shown = f"'{printable(path.name, 100)}'"
    weights = read_weights(path)
    tensors = weights.tensors
    if XL & tensors.keys():
        raise BadWeights(f"The embedding {shown} was made for Stable Diffusion XL or 3, not for version 1 or 2.")
    if any(".lora_" in name or name.startswith("lora_") for name in tensors):
        raise BadWeights(f"The file {shown} is a LoRA and no embedding; give it with --lora.")
    if len(tensors) != 1:
        names = ", ".join(f"'{printable(name, 60)}'" for name in list(tensors)[:3]) or "none"
        raise BadWeights(f"The file {shown} is no embedding of one word: it has {len(tensors)} tensors ({names}).")
    ((name, vectors),) = tensors.items()
    if vectors.ndim not in (1, 2) or not vectors.numel() or not vectors.is_floating_point():
        raise BadWeights(
            f"The file {shown} is no embedding: '{printable(name, 60)}' has the shape {tuple(vectors.shape)}, not one "
            "row of numbers for each vector."
        )
    vectors = vectors.float().reshape(-1, vectors.shape[-1])  # (N, W)
    if not bool(torch.isfinite(vectors).all()):
        raise BadWeights(f"The embedding {shown} is damaged: it has numbers that are not finite.")
    return Embedding((_plain(word),) if word else _names(path, name, weights), vectors)


def _names(path: Path, tensor: str, weights: Weights) -> tuple[str, ...]:
    """The name of the file, and those within it; the same word in capitals is the same."""
    names: dict[str, str] = {}
    for found in (path.stem, tensor, weights.extras.get("name")):
        if isinstance(found, str) and found not in NO_WORDS and _plain(found):
            names.setdefault(_folded(found), _plain(found))
    return tuple(names.values())


def learn(tower: TextTower, embeddings: Sequence[Embedding]) -> dict[str, tuple[int, ...]]:
    """Give a text encoder the vectors of learned words, as tokens after its own; all of them or, on error, none.

    Args:
        tower: the text encoder, changed in place.
        embeddings: the words.

    Returns:
        Each spelling of a word, and the ids of its tokens.

    Raises:
        BadWeights: vectors are of another width than the encoder's, or more than it reads at once.
        BadInput: two embeddings are written alike.
    """
    old = tower.token_embedding.weight
    most = tower.context_length - 2
    words: dict[str, tuple[int, ...]] = {}
    first = len(old)
    for embedding in embeddings:
        count, width = embedding.vectors.shape
        shown = f"'{printable(embedding.words[0], 60)}'"
        if width != old.shape[1]:
            own = _family(old.shape[1])
            raise BadWeights(f"The embedding {shown} has {_family(width)}, and the text encoder of this model {own}.")
        if count > most:
            raise BadWeights(f"The embedding {shown} has {count} vectors, and a text encoder reads {most} at once.")
        taken = {_folded(word) for word in words}
        twice = next((word for word in embedding.words if _folded(word) in taken), None)
        if twice is not None:
            raise BadInput(f"Two embeddings are written '{printable(twice, 60)}'; give one of them as FILE:WORD.")
        words |= dict.fromkeys(embedding.words, tuple(range(first, first + count)))
        first += count
    if embeddings:
        added = torch.cat([embedding.vectors for embedding in embeddings]).to(old)
        tower.token_embedding = nn.Embedding.from_pretrained(torch.cat([old.detach(), added]))
        tower.config["vocab_size"] = first
    return words


def _family(width: int) -> str:
    known = FAMILIES.get(width)
    return f"{width} numbers a vector{f' ({known})' if known else ''}"


def tokens_of(text: str, words: Words | None = None) -> Iterator[tuple[int, ...]]:
    """The token ids of a text of any length, those of a learned word together, all others one by one.

    Words are found in capitals or not, the longest first, where no letter or digit stands next to them.
    """
    place = 0
    if words:
        names = sorted(words, key=len, reverse=True)
        text = unicodedata.normalize("NFC", text)
        for found in re.finditer("|".join(map(_pattern, names)), text, re.IGNORECASE):
            yield from ((token,) for token in encode(text[place : found.start()]))
            yield words[names[(found.lastindex or 1) - 1]]
            place = found.end()
    yield from ((token,) for token in encode(text[place:]))


def _pattern(word: str) -> str:
    """A group that finds a word; marks such as <> at its ends need no space around them."""
    spaced = r"\s+".join(map(re.escape, word.split()))
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w$", word) else ""
    return f"{before}({spaced}){after}"


def _plain(word: str) -> str:
    return " ".join(unicodedata.normalize("NFC", word).split())


def _folded(word: str) -> str:
    return _plain(word).casefold()
