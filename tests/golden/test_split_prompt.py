"""Prompts are read as VQGAN-CLIP reads them, where it reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lienzo.guidance.prompts import parse_prompt


@pytest.mark.golden("vqgan_clip_split_prompt*.json")
def test_split_prompt(golden_path: Path) -> None:
    for text, expected in json.loads(golden_path.read_text()):
        prompt = parse_prompt(text)
        if isinstance(expected, str):
            assert text.startswith(prompt.text), "where the original crashes, the text is kept"
        else:
            assert [prompt.text, str(prompt.weight), str(prompt.stop)] == expected
