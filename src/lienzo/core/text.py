"""Foreign text made safe to show: prompts from pictures, names from files."""

from __future__ import annotations

import unicodedata

# Bidirectional overrides and isolates can make a terminal show other text than is there.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, limit: int = 10_000) -> str:
    """`text` on one line without control characters, cut to `limit` characters.

    Line breaks and tabs become spaces. Escape sequences lose their escape and so their meaning. Letters of any
    script and emoji (with their joiners) stay.
    """
    shown = []
    for char in text[: limit + 1]:
        if char in "\r\n\t\u2028\u2029":
            shown.append(" ")
        elif char not in _DIRECTION and unicodedata.category(char) not in ("Cc", "Cs"):
            shown.append(char)
    line = "".join(shown)
    return line if len(line) <= limit else line[: limit - 1] + "…"
