"""Prompts with weights and of any length, for the text encoders of Stable Diffusion.

The notation is that of the field: `(word)` 1.1 times, `((word))` 1.21 times, `(word:1.3)` 1.3 times, `[word]`
1 / 1.1 times; `\\(`, `\\)`, `\\[` and `\\]` are plain brackets; `BREAK` begins a new chunk. A bracket that is never
closed reaches to the end; one that was never opened is a plain bracket.

A text encoder reads 77 tokens, so that a longer prompt is cut into chunks of 75 tokens, each between a start and an end
mark; their states are put one after the other, and cross-attention takes any number of them. The vectors of a learned
word (`textual_inversion`) count as tokens and stay within one chunk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from lienzo.clip.textual_inversion import Words, tokens_of
from lienzo.clip.tokenizer import END, START
from lienzo.clip.transformer import TextTower
from lienzo.core.errors import BadInput

ROUND = 1.1
SQUARE = 1 / 1.1
LIMIT = 10.0
MAX_CHARACTERS = 100_000
MAX_DEPTH = 100  # brackets within brackets
MAX_CHUNKS = 100
COMMA = 267  # the token of ", " after a word
BACKTRACK = 20

_TOKEN = re.compile(
    r"\\[()\[\]\\]|[(\[]|:\s*+([-+]?(?:\d++(?:\.\d*+)?|\.\d++))\s*+\)|[)\]]|\bBREAK\b|[^\\()\[\]:B]+|.", re.S
)


@dataclass(frozen=True)
class Piece:
    """A stretch of a prompt with one weight; `text` None stands for BREAK."""

    text: str | None
    weight: float = 1.0


@dataclass(frozen=True)
class Chunk:
    """Up to `context_length - 2` token ids, without marks, and a weight for each."""

    ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()


def parse_weights(prompt: str) -> list[Piece]:
    """The stretches of a prompt and their weights; neighbours of equal weight are one.

    Raises:
        BadInput: a weight is not within [-10, 10], or the prompt has more than 100,000 characters or more than 100
            brackets within brackets.
    """
    if len(prompt) > MAX_CHARACTERS:
        raise BadInput(f"The prompt has {len(prompt)} characters; at most {MAX_CHARACTERS} are read.")
    pieces: list[list[Any]] = []  # [text, weight]
    opened: list[tuple[str, int]] = []  # the bracket, and the first piece inside it

    def close(factor: float) -> None:
        _, start = opened.pop()
        for piece in pieces[start:]:
            piece[1] *= factor

    for found in _TOKEN.finditer(prompt):
        word = found[0]
        inside = opened[-1][0] if opened else ""
        if word in ("(", "["):
            if len(opened) == MAX_DEPTH:
                raise BadInput(f"The prompt opens more than {MAX_DEPTH} brackets within brackets.")
            opened.append((word, len(pieces)))
        elif found[1] is not None and inside == "(":
            close(float(found[1]))
        elif word == ")" and inside == "(":
            close(ROUND)
        elif word == "]" and inside == "[":
            close(SQUARE)
        elif word == "BREAK":
            pieces.append([None, 1.0])
        else:
            escaped = len(word) == 2 and word[0] == "\\"
            pieces.append([word[1:] if escaped else word, 1.0])
    while opened:
        close(ROUND if opened[-1][0] == "(" else SQUARE)
    return _merged(pieces)


def _merged(pieces: Sequence[Sequence[Any]]) -> list[Piece]:
    result: list[Piece] = []
    for text, weight in pieces:
        if not math.isfinite(weight) or abs(weight) > LIMIT:
            raise BadInput(
                f"The prompt gives a word the weight {weight:g}; weights are from -{LIMIT:g} to {LIMIT:g}"
                " (write \\( and \\) for plain brackets)."
            )
        last = result[-1] if result else None
        if last and last.text is not None and text is not None and last.weight == weight:
            result[-1] = Piece(last.text + text, weight)
        elif text is None or text:
            result.append(Piece(text, 1.0 if text is None else weight))
    return result


def chunks(
    prompt: str, size: int = 75, *, weighted: bool = True, backtrack: int = BACKTRACK, words: Words | None = None
) -> list[Chunk]:
    """The tokens of a prompt in chunks, at least one.

    Args:
        prompt: any text.
        size: tokens a chunk.
        weighted: read brackets and BREAK; otherwise they are plain text.
        backtrack: a chunk that is full ends after its last comma instead, if that is at most so many tokens back.
        words: learned words, each of at most `size` tokens.

    Raises:
        BadInput: as `parse_weights`, or there are more than 100 chunks.
    """
    pieces = parse_weights(prompt) if weighted else [Piece(prompt)]
    done: list[Chunk] = []
    open_: list[tuple[int, float]] = []

    def finish(count: int) -> None:
        if len(done) == MAX_CHUNKS:
            raise BadInput(f"The prompt is longer than {MAX_CHUNKS * size} tokens; shorten it.")
        done.append(Chunk(tuple(i for i, _ in open_[:count]), tuple(w for _, w in open_[:count])))
        del open_[:count]

    for piece in pieces:
        if piece.text is None:
            finish(len(open_))
            continue
        for group in tokens_of(piece.text, words):
            while len(open_) + len(group) > size:
                full = len(open_)
                commas = [place for place, (i, _) in enumerate(open_) if i == COMMA and full - place - 1 <= backtrack]
                finish(commas[-1] + 1 if commas and group != (COMMA,) else full)
            open_.extend((token, piece.weight) for token in group)
    if open_ or not done:
        finish(len(open_))
    return done


def encode_prompts(
    tower: TextTower,
    prompts: Sequence[str],
    *,
    skip: int = 0,
    pad: int = END,
    weighting: Literal["mean", "empty", "none"] = "mean",
    backtrack: int = BACKTRACK,
    words: Words | None = None,
) -> Tensor:
    """The states of prompts of any length, as the context of a U-Net.

    Give a prompt and its negative prompt in one call: all are filled up to the longest with empty chunks.

    Args:
        tower: the text encoder, in evaluation mode.
        prompts: any texts; the empty one is allowed.
        skip: blocks left out at the end, before the final norm; 1 is "clip skip 2" of the field.
        pad: the token after the end mark: `END` in Stable Diffusion 1, 0 in Stable Diffusion 2.
        weighting: ``mean`` multiplies the states by their weights, then scales each chunk so that the mean of its
            states is what it was (stable-diffusion-webui); ``empty`` moves them away from the states of the empty
            prompt, empty + weight * (states - empty) (ComfyUI); ``none`` reads brackets as plain text.
        backtrack: see `chunks`.
        words: learned words, whose tokens the tower has; see `textual_inversion.learn`.

    Returns:
        (B, 77 n, W), n the number of chunks of the longest prompt.

    Raises:
        BadInput: a prompt's weights do not fit, or the tower reads fewer than 3 tokens.
    """
    if weighting not in ("mean", "empty", "none"):
        raise BadInput(f"Option 'weighting' was '{weighting}'; it should be one of mean, empty, none.")
    length = tower.context_length
    if length < 3:
        raise BadInput(f"This text encoder reads {length} tokens, which leaves no place for a text.")
    weighted = weighting != "none"
    lists = [chunks(text, length - 2, weighted=weighted, backtrack=backtrack, words=words) for text in prompts]
    most = max((len(each) for each in lists), default=1)
    filled = [chunk for each in lists for chunk in [*each, *[Chunk()] * (most - len(each))]]
    device = tower.positional_embedding.device
    weights = torch.ones(len(filled), length)  # (B n, L)
    for row, chunk in enumerate(filled):
        weights[row, 1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
    states = _states(tower, filled, skip, pad)  # (B n, L, W)
    if bool((weights != 1).any()):
        empty = _states(tower, [Chunk()], skip, pad) if weighting == "empty" else None
        states = _weighted(states, weights.to(device, states.dtype)[..., None], empty)
    return states.reshape(len(prompts), most * length, states.shape[-1])


def _states(tower: TextTower, filled: Sequence[Chunk], skip: int, pad: int) -> Tensor:
    """The states of each different chunk are computed once, a few at a time."""
    different = list(dict.fromkeys(chunk.ids for chunk in filled))
    tokens = torch.full((len(different), tower.context_length), pad, dtype=torch.long)
    for row, ids in enumerate(different):
        tokens[row, : len(ids) + 2] = torch.tensor([START, *ids, END])
    tokens = tokens.to(tower.positional_embedding.device)
    found = torch.cat([tower.text_states(part, skip=skip) for part in tokens.split(16)])
    places = {ids: row for row, ids in enumerate(different)}
    return found[[places[chunk.ids] for chunk in filled]]


def _weighted(states: Tensor, weights: Tensor, empty: Tensor | None) -> Tensor:
    if empty is not None:
        return empty + weights * (states - empty)
    scaled = states * weights
    before, after = states.mean(dim=(1, 2), keepdim=True), scaled.mean(dim=(1, 2), keepdim=True)
    # a mean near zero would blow the states up or turn their sign
    ratio = torch.nan_to_num(before / after, nan=1.0, posinf=1.0, neginf=1.0)
    ratio = torch.where(ratio > 0, ratio.clamp(1 / LIMIT, LIMIT), torch.ones_like(ratio))
    changed = (weights != 1).any(dim=1, keepdim=True)
    return torch.where(changed, scaled * ratio, states)
