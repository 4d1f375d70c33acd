"""SigLIP's tokens: cleaning, end and padding, and refusals; ids of a `spiece.model` are in tests/golden."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lienzo.clip.sentence_pieces import canonical, read_tokenizer
from lienzo.core.errors import BadInput, BadWeights


def test_canonical() -> None:
    assert canonical("  A Red_Fox,  (in) the SNOW!\n") == "a red fox in the snow"
    assert canonical("¡Un gato — azul!") == "¡un gato — azul"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<pad>", "<eos>", "<unk>", "a", "red", "fox"]
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.enable_padding(length=64)
    own.enable_truncation(2)
    own.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_ended_padded_and_cut(folder: Path) -> None:
    tokens = read_tokenizer(folder / "w", 4, 6)
    assert tokens(["A red.", "fox " * 9, ""]).tolist() == [[3, 4, 1, 0], [5, 5, 5, 1], [1, 0, 0, 0]]
    config = {"pad_token": {"content": "<eos>"}, "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert read_tokenizer(folder / "w", 4, 6)(["a red"]).tolist() == [[3, 4, 1, 1]]


def test_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="has 6 pieces; the network knows 5"):
        read_tokenizer(folder / "w", 4, 5)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BadWeights, match=r"'tokenizer\.json' beside the weights is broken"):
        read_tokenizer(folder / "w", 4, 6)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match=r"put tokenizer\.json or spiece\.model beside 'w'"):
        read_tokenizer(folder / "w", 4, 6)
    for broken in (b"\x0a\xff", b"\xff" * 99, b"\x0a\x02\x0a\x05", b"hello", b""):
        (folder / "spiece.model").write_bytes(broken)
        with pytest.raises(BadWeights, match=r"spiece\.model"):
            read_tokenizer(folder / "w", 4, 6)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(BadInput, match=r"pip install 'lienzo\[data\]'"):
        read_tokenizer(folder / "w", 4, 6)
