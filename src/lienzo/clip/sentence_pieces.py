"""SigLIP's text: sentence pieces (Kudo and Richardson 2018, arXiv:1808.06226), read from the files beside the weights.

The tokenizer is Hugging Face's `tokenizers` (extra `data`), from `tokenizer.json` or, where only that is there, from
the `spiece.model` of SentencePiece.
"""

from __future__ import annotations

import string
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.weights.beside import read_json

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACE = "▁"
_UNIGRAM = 1
_UNKNOWN, _BYTE = 2, 6  # kinds of pieces


def canonical(text: str) -> str:
    """The text as SigLIP was trained on it: lower case, without punctuation, one space between words."""
    return " ".join(text.replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


def read_tokenizer(weights: Path, length: int, vocabulary: int) -> Callable[[Sequence[str]], np.ndarray]:
    """The tokenizer beside a weight file: sentences to int64 ids (N, length), each ended, padded and cut to fit.

    Args:
        weights: the weight file.
        length: ids a row.
        vocabulary: how many ids the network knows.

    Raises:
        BadInput: there is no tokenizer, the `tokenizers` library is missing, or it gives ids the network lacks.
        BadWeights: a tokenizer's file is broken.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BadInput("SigLIP's text needs the tokenizers library: pip install 'lienzo[data]'.") from error
    path, model = weights.with_name("tokenizer.json"), weights.with_name("spiece.model")
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception for whatever is wrong in the file
            raise BadWeights("The file 'tokenizer.json' beside the weights is broken.") from error
    elif model.is_file():
        tokenizer = from_sentencepiece(model)
    else:
        name = printable(weights.name, 100)
        raise BadInput(f"SigLIP's text needs its tokenizer: put tokenizer.json or spiece.model beside '{name}'.")
    if tokenizer.get_vocab_size() > vocabulary:
        raise BadInput(f"The tokenizer has {tokenizer.get_vocab_size()} pieces; the network knows {vocabulary}.")
    return _rows(tokenizer, read_json(weights.with_name("tokenizer_config.json")) or {}, length)


def _rows(tokenizer: Any, config: dict[str, Any], length: int) -> Callable[[Sequence[str]], np.ndarray]:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    end = _id(tokenizer, config.get("eos_token"), ("</s>", "<eos>"))
    pad = _id(tokenizer, config.get("pad_token"), ("<pad>", "</s>"))

    def rows(texts: Sequence[str]) -> np.ndarray:
        result = np.full((len(texts), length), pad, np.int64)
        for row, encoding in zip(result, tokenizer.encode_batch([canonical(text) for text in texts])):
            ids = list(encoding.ids)
            while ids and ids[-1] == end:
                ids.pop()
            ids = [*ids[: length - 1], end]
            row[: len(ids)] = ids
        return result

    return rows


def _id(tokenizer: Any, given: Any, usual: Sequence[str]) -> int:
    if isinstance(given, dict):
        given = given.get("content")
    for token in (given, *usual):
        found = tokenizer.token_to_id(token) if isinstance(token, str) else None
        if found is not None:
            return found
    raise BadWeights(f"The tokenizer beside the weights has none of the pieces {', '.join(usual)}.")


def from_sentencepiece(path: Path) -> Any:
    """A tokenizer of the `tokenizers` library from a unigram model of SentencePiece.

    Raises:
        BadWeights: the file is broken, or of another kind than unigram.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    try:
        pieces, kind, charsmap, kinds = _parsed(path.read_bytes())
        if kind != _UNIGRAM or _UNKNOWN not in kinds:
            raise BadWeights(f"'{printable(path.name)}' is no unigram model; give the tokenizer.json.")
        model = models.Unigram(pieces, kinds.index(_UNKNOWN), _BYTE in kinds)
        steps = [normalizers.Precompiled(charsmap)] if charsmap else []
    except BadWeights:
        raise
    except Exception as error:  # the library raises plain Exception; a broken file breaks anywhere
        raise BadWeights(f"The file '{printable(path.name)}' beside the weights is broken.") from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, "always")
    tokenizer.decoder = decoders.Metaspace(_SPACE, "always")
    return tokenizer


def _parsed(data: bytes) -> tuple[list[tuple[str, float]], int, bytes, list[int]]:
    """Pieces with scores, the kind of model, the table of normalisation, and the kind of each piece."""
    pieces: list[tuple[str, float]] = []
    kinds: list[int] = []
    kind, charsmap = _UNIGRAM, b""
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(value))
            pieces.append((piece[1].decode("utf-8"), struct.unpack("<f", piece.get(2, b"\0" * 4))[0]))
            kinds.append(piece.get(3, 1))
        elif number == 2:
            kind = dict(_fields(value)).get(3, _UNIGRAM)
        elif number == 3:
            charsmap = dict(_fields(value)).get(2, b"")
    return pieces, kind, charsmap, kinds


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protocol buffer: an int, or the bytes of a float, text or message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}[wire]
        if at + size > len(data):
            raise ValueError("cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
