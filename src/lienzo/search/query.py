"""What a person asks for: texts and pictures added and subtracted, as in ``2*dog + ./pool.jpg - fruit``.

The language::

    query   = [sign] term {sign term}
    sign    = "+" | "-"                     alone between spaces
    term    = [weight] (quoted | words)
    weight  = number ("*" | ":")            "2*dog", "-0.5:blue sky"
    quoted  = text in "…", '…', “…” or «…»

A hyphen inside a word belongs to it ("t-shirt"). Quotes keep a text together that has a sign of its own. A term is a
picture if it begins with ``./``, ``../``, ``/`` or ``~/``, or is the name of a picture file that exists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.data.trees import PICTURE_SUFFIXES

MAX_LETTERS = 10_000
MAX_TERMS = 64
MAX_WEIGHT = 1000.0
_QUOTES = {'"': '"', "'": "'", "“": "”", "«": "»"}
_SIGN = re.compile(r"([+-])(?=\s|$)")
_SPACED_SIGN = re.compile(r"(?<=\s)[+-](?=\s|$)")
# "10:30" and "16:9" are no weights: after a colon a weight needs something that is no digit.
_WEIGHT = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s{0,20}(?:\*|:(?!\d))\s{0,20}")
_GLUED_SIGN = re.compile(r"(?:^|(?<=\s))[+-](?=[^\W\d]|[\"'“«./~]|\d+(?:\.\d*)?[*:])")
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}://|data:image/")
_PATH_STARTS = ("./", "../", "/", "~/", ".\\", "..\\")


@dataclass(frozen=True)
class Term:
    """One part of a query: a text or a picture, and how much of it is wanted; below 0 it is unwanted."""

    weight: float
    text: str = ""
    picture: Path | None = None

    def __str__(self) -> str:
        what = printable(self.text or str(self.picture), 200)
        return what if self.weight == 1 else f"{self.weight:g}*{what}"


def parse_query(query: str) -> tuple[Term, ...]:
    """The terms of a query.

    Raises:
        BadInput: it does not follow the language above; the sentence names the place, counted from 1.
    """
    if len(query) > MAX_LETTERS:
        raise BadInput(f"The query has {len(query)} letters; at most {MAX_LETTERS} are read.")
    if "\0" in query:
        raise BadInput(f"The query has a zero byte at place {query.index(chr(0)) + 1}.")
    terms: list[Term] = []
    place, end = _skip(query, 0), len(query.rstrip())
    while place < end or not terms:
        sign = _SIGN.match(query, place)
        if terms and sign is None:
            raise BadInput(f"The query needs '+' or '-' between spaces at place {place + 1}, after the quoted text.")
        start = _skip(query, sign.end()) if sign else place
        if start >= end:
            where = f"after '{sign[1]}' at place {sign.start() + 1}" if sign else "in it"
            raise BadInput(f"The query has no text or picture {where}; write it as 'dog + ./pool.jpg - fruit'.")
        term, place = _read_term(query, start)
        terms.append(Term(-term.weight, term.text, term.picture) if sign and sign[1] == "-" else term)
        if len(terms) > MAX_TERMS:
            raise BadInput(f"The query has more than {MAX_TERMS} terms.")
    return tuple(terms)


def picture_term(path: str | Path, weight: float = 1.0) -> Term:
    """A picture as part of a query.

    Raises:
        BadInput: it is an address of the web, or there is no such file.
    """
    text = os.fspath(path)
    if _ADDRESS.match(text):
        raise BadInput(
            f"'{printable(text, 100)}' is an address; save the picture and give its file, nothing is fetched."
        )
    found = Path(text).expanduser() if text.startswith("~") else Path(text)
    if os.path.isdir(found):
        raise BadInput(f"'{printable(text, 200)}' is a folder; give a picture in it.")
    if not os.path.isfile(found):
        raise BadInput(f"There is no picture '{printable(text, 200)}'.")
    return Term(weight, picture=found)


def query_vector(
    terms: Sequence[Term],
    encode_texts: Callable[[Sequence[str]], np.ndarray],
    picture_vector: Callable[[Path], np.ndarray],
) -> np.ndarray:
    """The unit vector that a query stands for: the sum of its terms' unit vectors, each times its weight.

    Args:
        terms: what is asked for.
        encode_texts: N texts to unit vectors (N, D); called at most once.
        picture_vector: A picture file to its unit vector (D,).

    Returns:
        float32 (D,).

    Raises:
        BadInput: there are no terms, or they cancel out.
    """
    if not terms:
        raise BadInput("The query is empty; give a text or a picture.")
    texts = [term.text for term in terms if term.picture is None]
    encoded = iter(encode_texts(texts) if texts else ())
    total: np.ndarray | None = None
    for term in terms:
        vector = next(encoded) if term.picture is None else picture_vector(term.picture)
        part = term.weight * _unit(np.asarray(vector, np.float64))  # (D,)
        total = part if total is None else total + part
    assert total is not None
    if not np.linalg.norm(total) > 1e-4 * max(abs(term.weight) for term in terms):
        raise BadInput("The query cancels itself out: what it adds and what it subtracts are the same.")
    return _unit(total).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _skip(query: str, place: int) -> int:
    """The first place at or after `place` that is no space."""
    while place < len(query) and query[place].isspace():
        place += 1
    return place


def _read_term(query: str, start: int) -> tuple[Term, int]:
    """The term at `start`, and where the next sign is."""
    weight, place = 1.0, start
    if found := _WEIGHT.match(query, start):
        weight, place = float(found[1]), found.end()
        if not abs(weight) <= MAX_WEIGHT:
            raise BadInput(f"The weight at place {start + 1} is too large; it is at most {MAX_WEIGHT:g}.")
    text, end = _quoted(query, place) or _words(query, place)
    if not text.strip():
        raise BadInput(f"The query has no text or picture at place {place + 1}.")
    if _ADDRESS.match(text):
        raise BadInput(
            f"The query has an address at place {place + 1}; save the picture and give its file, nothing is fetched."
        )
    return _named(text, weight), _skip(query, end)


def _named(text: str, weight: float) -> Term:
    """The term that a text stands for: a picture file or itself."""
    is_file = text.lower().endswith(PICTURE_SUFFIXES) and os.path.isfile(text)
    return picture_term(text, weight) if is_file or text.startswith(_PATH_STARTS) else Term(weight, text)


def _quoted(query: str, start: int) -> tuple[str, int] | None:
    """The text in quotes at `start` and its end, or None where none begins. An apostrophe may begin a word."""
    opening = query[start : start + 1]
    if opening not in _QUOTES or not opening:
        return None
    end = query.find(_QUOTES[opening], start + 1)
    while end >= 0 and query[end + 1 : end + 2].strip():  # a closing quote has nothing glued to it
        end = query.find(_QUOTES[opening], end + 1)
    if end < 0:
        if opening == "'":
            return None
        raise BadInput(f"The quote that opens at place {start + 1} of the query is not closed.")
    return query[start + 1 : end], end + 1


def _words(query: str, start: int) -> tuple[str, int]:
    """The text from `start` to the next sign between spaces, without spaces at its ends, and its end."""
    sign = _SPACED_SIGN.search(query, start)
    if _SIGN.match(query, start):
        raise BadInput(f"The query has two signs in a row at place {start + 1}; put a sign that is text in quotes.")
    end = sign.start() if sign else len(query)
    glued = _GLUED_SIGN.search(query[:end], start)
    if glued:
        shown = query[glued.start()]
        raise BadInput(
            f"The '{shown}' at place {glued.start() + 1} of the query touches a word; "
            f"put a space after it, or the text in quotes."
        )
    return query[start:end].strip(), end
