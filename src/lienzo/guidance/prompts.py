"""Prompts with a weight and a stop: ``a red fox:2``, ``text:-1``, ``a cat:1:0.8``, ``sea.png:0.5``.

The rules, which agree with clip-diffusion-art and VQGAN-CLIP wherever those do not crash:

* a part after the last colon that is a finite number is the weight: ``a cat:2``, ``https://x.org/a.png:3``,
  ``time 12:30`` (weight 30);
* with two numbers at the end, the first is the weight and the second the stop: ``a cat:0.5:-1``;
* anything else after a colon belongs to the text: ``a:b``, ``https://x.org/a.png``, ``C:\\art\\fox.png``;
* ``\\:`` is a colon of the text and ``\\|`` a bar of the text: ``time 12\\:30`` has weight 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lienzo.core.errors import BadInput

_COLON = re.compile(r"(?<!\\):")
_BAR = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Prompt:
    """What to pull towards (weight > 0) or away from (weight < 0).

    `text` is a sentence, or the address of a picture when `image` is set. `stop` is the signed distance below
    which the prompt no longer pulls; minus infinity always pulls.
    """

    text: str
    weight: float = 1.0
    stop: float = -math.inf
    image: bool = False


def parse_prompt(text: str, *, image: bool = False, stops: bool = True) -> Prompt:
    """Read ``text[:weight[:stop]]`` by the rules at the top of this file.

    Args:
        text: the prompt as typed.
        image: the text is the path or address of a picture.
        stops: read a second number as the stop (VQGAN-CLIP). Without it only the last number counts, as in
            clip-diffusion-art, and ``a:1:2`` is the text ``a:1`` of weight 2.
    """
    *_, colon, last = [None, None, *_COLON.finditer(text)]
    if last is None:
        return Prompt(_plain(text), image=image)
    weight, end = _number(text[last.end() :]), last.start()
    if stops and colon is not None:
        before = _number(text[colon.end() : end])
        if weight is not None and before is not None and math.isfinite(before):
            return Prompt(_plain(text[: colon.start()]), before, weight, image)
    if weight is None or not math.isfinite(weight):
        return Prompt(_plain(text), image=image)
    return Prompt(_plain(text[:end]), weight, image=image)


def parse_prompts(text: str, *, image: bool = False, stops: bool = True) -> list[Prompt]:
    """Read prompts that pull at the same time, joined by bars: ``a fox | watercolor:0.5 | text:-0.3``.

    Raises:
        BadInput: there is nothing between two bars, or nothing at all.
    """
    parts = [part.strip() for part in _BAR.split(text)]
    if not all(parts):
        raise BadInput(f"The prompt {text[:80]!r} has an empty part; write text before and after each '|'.")
    return [parse_prompt(part, image=image, stops=stops) for part in parts]


def normalised_weights(weights: Sequence[float]) -> list[float]:
    """Weights divided by the size of their sum, which becomes 1 or -1.

    Raises:
        BadInput: they cancel out, so that they would pull nowhere.
    """
    total = sum(weights)
    if abs(total) < 1e-3:
        raise BadInput("The prompt weights sum to 0; make the positive weights outweigh the negative ones.")
    return [weight / abs(total) for weight in weights]


def _number(text: str) -> float | None:
    """A number or minus infinity (an open stop), else None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) or number == math.inf else number


def _plain(text: str) -> str:
    return text.replace("\\:", ":").replace("\\|", "|")
