"""CLIP's byte-level BPE: text to token ids and back, equal to OpenAI's tokenizer id for id.

The merge list `bpe_simple_vocab_16e6.txt.gz` beside this file is OpenAI's, from https://github.com/openai/CLIP,
Copyright (c) 2021 OpenAI, MIT licence. Text is repaired (ftfy), HTML entities are undone twice, white space is
collapsed, and everything is lowercased; then each word is merged by rank (Sennrich et al., arXiv:1508.07909).
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise

import ftfy
import regex
import torch
from torch import Tensor

from lienzo.core.errors import BadInput

START = 49406
END = 49407
CONTEXT_LENGTH = 77
MERGES = 48_894
SPECIAL = {"<|startoftext|>": START, "<|endoftext|>": END}
_WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def byte_letters() -> dict[int, str]:
    """A printable letter for each byte; the order is that of the first 256 ids of the vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


def clean(text: str) -> str:
    """The text as the vocabulary sees it: repaired, unescaped, one space between words, lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return regex.sub(r"\s+", " ", text.strip()).strip().lower()


class Tokenizer:
    """The vocabulary of 49408 pieces: 256 bytes, the same ending a word, 48894 merges, start and end of text."""

    def __init__(self, merges: Sequence[tuple[str, str]]):
        self.byte_letter = byte_letters()
        self.letter_byte = {letter: byte for byte, letter in self.byte_letter.items()}
        letters = list(self.byte_letter.values())
        pieces = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), *SPECIAL]
        self.ids = {piece: i for i, piece in enumerate(pieces)}
        self.pieces = pieces
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._word_ids = lru_cache(maxsize=65_536)(self._merge)

    def _merge(self, word: str) -> tuple[int, ...]:
        """The ids of one word: join the adjacent pair of lowest rank, everywhere, until no pair has a rank."""
        if word in SPECIAL:
            return (SPECIAL[word],)
        letters = [self.byte_letter[byte] for byte in word.encode("utf-8")]
        parts = [*letters[:-1], letters[-1] + "</w>"]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self.ranks.get(pair, MERGES))
            if best not in self.ranks:
                break
            merged: list[str] = []
            for part in parts:
                if merged and (merged[-1], part) == best:
                    merged[-1] += part
                else:
                    merged.append(part)
            parts = merged
        return tuple(self.ids[part] for part in parts)

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without start and end marks."""
        return [i for word in _WORD.findall(clean(text)) for i in self._word_ids(word)]

    def decode(self, ids: Iterable[int] | Tensor) -> str:
        """The text of ids; each word is followed by a space, broken UTF-8 becomes U+FFFD.

        Raises:
            BadInput: an id is outside the vocabulary.
        """
        numbers = [int(i) for i in ids]
        for i in numbers:
            if not 0 <= i < len(self.pieces):
                raise BadInput(f"Token id {i} is outside CLIP's vocabulary of {len(self.pieces)} ids.")
        letters = "".join(self.pieces[i] for i in numbers).replace("</w>", " ")
        raw = b"".join(bytes([self.letter_byte[c]]) if c in self.letter_byte else c.encode("utf-8") for c in letters)
        return raw.decode("utf-8", errors="replace")


@cache
def tokenizer() -> Tokenizer:
    """The one tokenizer, read from the package on first use."""
    packed = files("lienzo.clip").joinpath("bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : MERGES + 1]
    pairs = [line.split() for line in lines]
    return Tokenizer([(a, b) for a, b in pairs])


def encode(text: str) -> list[int]:
    """The token ids of a text of any length, without start and end marks."""
    return tokenizer().encode(text)


def decode(ids: Iterable[int] | Tensor) -> str:
    """The text of token ids, lower case, with a space after each word."""
    return tokenizer().decode(ids)


def tokenize(
    texts: str | Sequence[str], context_length: int = CONTEXT_LENGTH, truncate: bool = False, pad: int = 0
) -> Tensor:
    """Rows of token ids with start and end marks.

    Args:
        texts: one text or several.
        context_length: ids a row, at least 2.
        truncate: cut a long text and put the end mark last, instead of refusing it.
        pad: the id after the end mark; 0 for CLIP, `END` for the text encoder of Stable Diffusion 1.

    Returns:
        int64, (number of texts, context_length).

    Raises:
        BadInput: a text is too long and `truncate` is off.
    """
    if context_length < 2:
        raise BadInput(f"The context length was {context_length}; it should be 2 or more.")
    texts = [texts] if isinstance(texts, str) else list(texts)
    rows = torch.full((len(texts), context_length), pad, dtype=torch.long)  # (N, L)
    for row, text in zip(rows, texts):
        ids = [START, *encode(text), END]
        if len(ids) > context_length:
            if not truncate:
                start = text if len(text) <= 60 else text[:60] + "…"
                raise BadInput(
                    f"The text {start!r} is too long: it has {len(ids) - 2} tokens,"
                    f" and at most {context_length - 2} fit; shorten it or allow truncation."
                )
            ids = [*ids[: context_length - 1], END]
        row[: len(ids)] = torch.tensor(ids)
    return rows
