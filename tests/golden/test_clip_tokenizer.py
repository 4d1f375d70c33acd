"""OpenAI's tokenizer, id for id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from goldens import Golden

from lienzo.clip.tokenizer import decode, encode, tokenize
from lienzo.core.errors import BadInput


@pytest.mark.golden("clip_tokenizer*.json")
def test_tricky_strings(golden_path: Path) -> None:
    golden = json.loads(golden_path.read_text())
    length, end = golden["context_length"], golden["eot"]
    for case in golden["cases"]:
        text = case["text"]
        assert encode(text) == case["encode"], text
        assert decode(case["encode"]) == case["decode"], text
        if case["error"]:
            with pytest.raises(BadInput, match="too long"):
                tokenize(text, length)
            row = tokenize(text, length, truncate=True)[0].tolist()
            if case["truncated"]:
                assert row == case["truncated"]
            assert len(row) == length
            assert row[-1] == end
        else:
            trimmed = case["tokenize_trimmed"]
            assert tokenize(text, length)[0].tolist() == trimmed + [0] * (length - len(trimmed)), text


@pytest.mark.golden("clip_tokenizer*.safetensors")
def test_rows(golden_path: Path) -> None:
    golden = Golden(golden_path)
    texts, rows = golden.config["texts"], golden.tensors["tokens_77_truncate"]
    assert [encode(text) for text in texts] == golden.config["ids"]
    assert [decode(ids) for ids in golden.config["ids"]] == golden.config["decoded"]
    assert torch.equal(tokenize(texts, rows.shape[1], truncate=True), rows.long())
