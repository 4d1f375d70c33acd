"""Ids from a `spiece.model` are those that SentencePiece itself gives."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from lienzo.clip.sentence_pieces import read_tokenizer


@pytest.mark.golden("siglip_pieces_*.json")
def test_ids(golden_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    golden = json.loads(golden_path.read_text("utf-8"))
    (tmp_path / "spiece.model").write_bytes(base64.b64decode(golden["model"]))
    tokens = read_tokenizer(tmp_path / "model.safetensors", golden["length"], golden["vocabulary"])
    for text, row, expected in zip(golden["texts"], tokens(golden["texts"]).tolist(), golden["ids"]):
        assert row == expected, text
