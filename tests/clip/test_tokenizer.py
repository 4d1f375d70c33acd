"""The tokenizer's own promises; equality with OpenAI's is in tests/golden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lienzo.clip.tokenizer import END, START, clean, decode, encode, tokenize, tokenizer
from lienzo.core.errors import BadInput


def test_vocabulary() -> None:
    pieces = tokenizer().pieces
    assert len(pieces) == len(set(pieces)) == 49408
    assert pieces[START] == "<|startoftext|>"
    assert pieces[END] == "<|endoftext|>"


def test_rows_have_marks_and_padding() -> None:
    rows = tokenize(["a cat", ""], context_length=6)
    assert rows.dtype == torch.int64
    assert rows.tolist() == [[START, 320, 2368, END, 0, 0], [START, END, 0, 0, 0, 0]]
    assert tokenize("a cat", context_length=6, pad=END).tolist() == [[START, 320, 2368, END, END, END]]
    assert tokenize([]).shape == (0, 77)


def test_too_long_names_the_text_and_the_limit() -> None:
    text = "fox " * 80
    with pytest.raises(BadInput, match=r"'fox fox .*…' is too long: it has 80 tokens, and at most 75 fit"):
        tokenize(["short", text])
    row = tokenize(text, truncate=True)[0]
    assert row[0] == START
    assert row[-1] == END
    assert (row[1:-1] == encode("fox")[0]).all()
    assert tokenize("fox " * 75)[0, -1] == END


def test_context_length_of_one_is_refused() -> None:
    with pytest.raises(BadInput, match="context length"):
        tokenize("a", context_length=1)


def test_decode_refuses_unknown_ids() -> None:
    for i in (-1, 49408):
        with pytest.raises(BadInput, match="outside"):
            decode([320, i])
    assert decode(torch.tensor([320, 2368])) == "a cat "


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_encodes_and_keeps_its_letters(text: str) -> None:
    ids = encode(text)
    assert all(0 <= i < 49408 for i in ids)
    # Decoding only moves spaces; it may not lose, add or change a letter.
    assert "".join(decode(ids).split()) == "".join(clean(text).split())


def test_repeated_letters_merge_left_to_right() -> None:
    for n in range(1, 30):
        assert decode(encode("a" * n)) == "a" * n + " "
