"""Stories: prompts one after the other, joined by ``^``, each of them prompts that pull at the same time."""

from __future__ import annotations

import re
from dataclasses import replace

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.guidance.prompts import Prompt, parse_prompts

_CARET = re.compile(r"(?<!\\)\^")


def parse_story(text: str) -> list[list[Prompt]]:
    """Read ``a seed ^ a sapling ^ a tree | autumn:0.5``: the prompts of each chapter, in order.

    ``\\^`` is a caret of the text; the rest is as in `parse_prompts`.

    Raises:
        BadInput: a chapter is empty, or its prompts cannot be read.
    """
    chapters = [chapter.strip() for chapter in _CARET.split(text)]
    if not all(chapters):
        raise BadInput(f"The story '{printable(text, 80)}' has an empty chapter; write text before and after each '^'.")
    return [
        [replace(prompt, text=prompt.text.replace("\\^", "^")) for prompt in parse_prompts(chapter)]
        for chapter in chapters
    ]
