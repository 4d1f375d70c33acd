"""Everyday words for things that the bundled painter remembers by another name: "king" for the emoji of a prince."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lienzo.data.phrases import plain


def synonym(word: str) -> str | None:
    """The name under which the painter knows what an English word without article stands for; None without such."""
    return synonyms().get(plain(word))


def plainer(name: str) -> str:
    """ "little old boat" without the words before the thing that a drawing of a single thing hardly shows: "boat"."""
    words = name.split()
    while len(words) > 1 and words[0].lower() in _HARDLY_SEEN:
        words.pop(0)
    return " ".join(words)


_HARDLY_SEEN = frozenset(
    "big large huge giant great small little tiny tall short old ancient new young modern beautiful pretty lovely nice "
    "cute adorable sweet fast slow lonely brave strange funny simple perfect amazing".split()
)


@cache
def synonyms() -> dict[str, str]:
    """Every such word and the name."""
    lines = (Path(__file__).parent / "synonyms.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {word: name for name, words in rows for word in words.split("|")}
