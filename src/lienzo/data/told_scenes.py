"""What a sentence says of where things stand: "a red apple left of a blue car" is two things and a place for each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lienzo.data.phrases import COLOURS, plain

Box = tuple[float, float, float]

# Longer phrases first; what is only beside something else stands to its left.
_PLACES: dict[str, tuple[str, ...]] = {
    "left of": (
        "(?:to|on) the left of", "left of", "next to", "beside",
        "a la izquierda del?", "al lado del?", "junto al?", "слева от", "рядом со?",
    ),
    "right of": ("(?:to|on) the right of", "right of", "a la derecha del?", "справа от"),
    "above": ("on top of", "above", "over", "encima del?", "sobre", "над"),
    "below": ("underneath", "beneath", "below", "under", "debajo del?", "bajo", "под"),
}  # fmt: skip
_AND = re.compile(r"\s+(?:and|y|e|и)\s+", re.IGNORECASE)
_LIST = re.compile(r"\s*,\s*(?:and\s+|y\s+|и\s+)?|\s+(?:and|y|e|и)\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:an?|the|one|some|un|una|el|la|один|одна)\s", re.IGNORECASE)
_COLOUR_WORDS = frozenset(plain(word) for forms in COLOURS.values() for own in forms.values() for word in own)

_BOXES: dict[str, tuple[Box, Box]] = {
    "left of": ((0.0, 0.24, 0.52), (0.48, 0.24, 0.52)),
    "right of": ((0.48, 0.24, 0.52), (0.0, 0.24, 0.52)),
    "above": ((0.24, 0.0, 0.52), (0.24, 0.48, 0.52)),
    "below": ((0.24, 0.48, 0.52), (0.24, 0.0, 0.52)),
}
_THREE: tuple[Box, ...] = ((0.25, 0.0, 0.5), (0.0, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class ToldScene:
    """Things and where they stand.

    Attributes:
        things: what is said of each.
        boxes: (left, top, side) of each, as shares of a square picture.
    """

    things: tuple[str, ...]
    boxes: tuple[Box, ...]


def told_scene(text: str) -> ToldScene | None:
    """The scene of two or three things that a sentence in English, Spanish or Russian tells, or None for one thing.

    Things that are only joined by "and" count as two when the second has an article or both are short: a "black and
    white cat" is one.
    """
    for relation, phrases in _PLACES.items():
        match = re.fullmatch(rf"(.+?)\s+(?:{'|'.join(phrases)})\s+(.+)", text.strip(), re.IGNORECASE | re.DOTALL)
        if match and _are_things(match.groups()):
            return ToldScene((match[1].strip(), match[2].strip()), _BOXES[relation])
    listed = tuple(part.strip() for part in _LIST.split(text) if part.strip())
    if len(listed) == 3 and _AND.search(text) and _are_things(listed):
        return ToldScene(listed, _THREE)
    pair = tuple(part.strip() for part in _AND.split(text))
    if len(pair) == 2 and "," not in text and _are_things(pair) and _stand_apart(pair):
        return ToldScene(pair, _BOXES["left of"])
    return None


def _are_things(parts: tuple[str, ...]) -> bool:
    """Whether each part names something, more than a colour."""
    return all(set(plain(_ARTICLE.sub("", part)).split()) - _COLOUR_WORDS for part in parts)


def _stand_apart(pair: tuple[str, ...]) -> bool:
    return bool(_ARTICLE.match(pair[1])) or all(len(part.split()) <= 2 for part in pair)
