"""Prompts are read as clip-diffusion-art reads them, where it reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lienzo.guidance.prompts import parse_prompt


@pytest.mark.golden("clip_diffusion_art_parse_prompt*.json")
def test_parse_prompt(golden_path: Path) -> None:
    for text, expected in json.loads(golden_path.read_text()):
        prompt = parse_prompt(text, stops=False)
        if isinstance(expected, str):
            assert (prompt.text, prompt.weight) == (text, 1.0), "where the original crashes, all of it is text"
        else:
            assert [prompt.text, prompt.weight] == expected
