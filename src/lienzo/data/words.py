"""Names of things: cleaning, slugs, concept ids, and families of concepts that are drawn nearly alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

_ARTICLE = re.compile(r"^(?:an?|the|some)\s+", re.IGNORECASE)
_NUMBER_WORDS = frozenset("one two three four five six seven eight nine ten eleven twelve".split())
_KEEPS_ITS_S = frozenset(
    "bus gas lens news chess tennis christmas scissors glasses sunglasses goggles pants jeans trousers shorts "
    "binoculars headphones cactus octopus walrus hippopotamus rhinoceros compass grass dress series".split()
)
_PLURALS = tuple(
    (re.compile(plural, re.DOTALL), end)
    for plural, end in ((r"(..+)ies", "y"), (r"(.+(?:ch|sh|x|ss|z|o))es", ""), (r"(.+)s", ""), (r"(.+s)es", ""))
)
_IRREGULAR = {
    "men": "man", "women": "woman", "people": "person", "children": "child", "mice": "mouse", "geese": "goose",
    "feet": "foot", "teeth": "tooth", "leaves": "leaf", "wolves": "wolf", "knives": "knife", "loaves": "loaf",
}  # fmt: skip
_PEOPLE = frozenset(
    "man woman men women person people boy girl boys girls child baby adult older old male female mother father "
    "in with and the holding".split()
)
_DIRECTIONS = frozenset("left right up down leftwards rightwards upwards downwards facing".split())


def clean_name(text: str, sentence: bool = False) -> str:
    """A name as it stands in the corpus: one line, plain quotes, no article in front, no full stop.

    The capital that a `sentence` begins with is taken away; capitals inside stay.

    Example: ``" A ripe, red tomato! "`` gives ``"ripe, red tomato"``.
    """
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"[“”«»\"]", "", text).replace("’", "'").replace("_", " ")
    text = re.sub(r"\s+", " ", text).strip(" .!?;:,–—…")
    if sentence and (text[1:2].islower() or text[1:2] in ("", " ")):
        text = text[:1].lower() + text[1:]
    return _ARTICLE.sub("", text)


def slug(text: str, limit: int = 64) -> str:
    """Lower-case ASCII letters, digits and single dashes; ``"x"`` where nothing is left."""
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", text.replace("'", "")).strip("-")[:limit].strip("-") or "x"


def singular(word: str) -> str:
    """The singular of a regular English plural; other words come back as they are."""
    if len(word) < 4 or word in _KEEPS_ITS_S or word.endswith("is"):
        return word
    return next(_regular(word), word)


def singulars(word: str) -> Iterator[str]:
    """What an English word may be the plural of, the likeliest first: "cookies" of "cooky" or "cookie"."""
    return iter((_IRREGULAR[word],)) if word in _IRREGULAR else _regular(word)


def _regular(word: str) -> Iterator[str]:
    if not word.endswith(("ss", "us")):
        for plural, end in _PLURALS:
            if match := plural.fullmatch(word):
                yield match[1] + end


def concept_of(name: str) -> str:
    """The id of the thing a name names: its slug with the last word in the singular, without a closing number."""
    words = slug(_ARTICLE.sub("", name)).split("-")
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in _NUMBER_WORDS):
        words.pop()
    words[-1] = singular(words[-1].rstrip("0123456789") or words[-1])
    return "-".join(words)


def family_of(concept: str) -> str:
    """The family a concept is split with: variants by sex, age, number, direction or hour fall together."""
    words = concept.split("-")
    if "oclock" in words or "thirty" in words:
        return "clock-face"
    dropped = _PEOPLE | _DIRECTIONS | _NUMBER_WORDS
    kept = [singular(word) for word in words if word not in dropped and not word.isdigit()]
    return "-".join(dict.fromkeys(kept)) or "person"


def squashed(name: str) -> str:
    """A name reduced to its ASCII letters and digits, to compare spellings with and without spaces."""
    return slug(name, limit=500).replace("-", "")


def is_word(tag: str) -> bool:
    """Can a tag stand in a caption: does it hold a word of three letters and no sign that is no text?"""
    return re.search(r"[^\W\d_]{3}", tag) is not None and re.search(r"[<>\\_@#*+=]|\d{2}", tag) is None


def unique(texts: Iterable[str]) -> list[str]:
    """The texts in order, without empty ones and without repeats that differ only in case."""
    found: dict[str, str] = {}
    for text in texts:
        if text.strip():
            found.setdefault(text.strip().lower(), text.strip())
    return list(found.values())
