"""Words and hashed letter n-grams: what the sentence encoder reads. Free of torch, so that a search begins at once."""

from __future__ import annotations

import re
import unicodedata
import zlib
from functools import lru_cache

from lienzo.data.spelling import spelled

_WORD = re.compile(r"\w+")
MAX_WORDS = 24


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, at most `MAX_WORDS`; accents are kept, compatibility forms folded, emoji named."""
    return _WORD.findall(unicodedata.normalize("NFKC", spelled(text)).lower())[:MAX_WORDS] or [""]


@lru_cache(maxsize=65536)
def ngram_buckets(word: str, buckets: int) -> tuple[int, ...]:
    """Hash buckets of a word: the word itself and its letter 3- to 5-grams with both ends marked."""
    marked = f"<{word[:40]}>"
    grams = {marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)}
    half = buckets // 2
    hashed = {half + zlib.crc32(gram.encode()) % (buckets - half) for gram in grams}
    return (zlib.crc32(marked.encode()) % half, *sorted(hashed))
