"""Spanish and Russian prompts word by word in English, for a sentence encoder that knows English best.

The words come from `lexicon.tsv`, written for Lienzo, and `lexicon_cldr.tsv`, names and keywords of emoji of Unicode's
CLDR. Words that both English and Spanish have ("pie", "pan") are read as Spanish only in a Spanish sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lienzo.data.inflection import folded, russian_stem, spanish_stem
from lienzo.data.lexicon_tables import Entry, open_lexicon

LONGEST = 8  # words of a phrase

_TOKEN = re.compile(r"\"[^\"]*\"|«[^»]*»|“[^”]*”|[^\W\d_]+(?:['’\-][^\W\d_]+)*|[^\w\"«“]+|.", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]")
_RUSSIAN = re.compile(r"[а-яё]", re.IGNORECASE)
_ARTICLES = {
    "un": "a",
    "una": "a",
    "unos": "the",
    "unas": "the",
    "el": "the",
    "la": "the",
    "los": "the",
    "las": "the",
}
_BETWEEN = {  # they hold others together: never the first word or the last
    "es": {
        "de": "of", "del": "of the", "con": "with", "y": "and", "e": "and", "en": "in", "sin": "without",
        "al": "at the", "sobre": "on", "bajo": "under", "para": "for", "a": "at",
    },
    "ru": {
        "с": "with", "со": "with", "и": "and", "в": "in", "во": "in", "на": "on", "без": "without", "под": "under",
        "над": "above", "из": "of", "у": "at", "для": "for", "за": "behind",
    },
}  # fmt: skip
_SPANISH = frozenset("un una unos unas el la los las de del con y en al para que muy su sus es está son".split())
_ENGLISH = frozenset(
    "the an of and or with without in on at by to from for is are near under over behind between into my his her its "
    "this that style very wearing holding sitting made".split()
)
_AFTER_THINGS = {"rosa": "pink", "naranja": "orange", "café": "brown", "cafe": "brown", "violeta": "purple"}


def to_english(text: str) -> str:
    """A prompt with the Spanish and Russian words and phrases that are known in English.

    Everything else stays as it is: unknown words, words in quotes, and whatever is English. Long phrases come before
    short ones; Spanish adjectives go before their things.

    Example: ``"лису в шляпе"`` gives ``"fox in hat"``.
    """
    tokens = _TOKEN.findall(text)
    words = [i for i, token in enumerate(tokens) if _WORD.match(token)]
    if not words:
        return text
    return _Prompt(tokens, words).english()


@dataclass(slots=True)
class _Piece:
    """A stretch of the answer; of a Spanish sentence also its kind: a thing, an adjective, an article."""

    text: str
    kind: str = ""


class _Prompt:
    """A prompt that is being read.

    Args:
        tokens: it in words, quotes, and what is between them.
        words: which of the tokens are words.
    """

    def __init__(self, tokens: Sequence[str], words: Sequence[int]):
        self.tokens, self.words = tokens, words
        self.said = [folded(tokens[i]) for i in words]
        self.russian = [_RUSSIAN.match(word) is not None for word in self.said]
        self.spanish = not all(self.russian) and self._is_spanish()
        articles = len(words) > 1 and self.said[0] in _ARTICLES
        self.things = len(words) - articles  # words behind the article

    def _is_spanish(self) -> bool:
        """Whether more words can only be Spanish than can only be English, or as many and the first one is Spanish."""
        spanish = [word in _SPANISH or self._foreign(n) for n, word in enumerate(self.said)]
        english = sum(word in _ENGLISH or word in open_lexicon("es").vocabulary for word in self.said)
        return sum(spanish) >= english + (not spanish[0])

    def _foreign(self, n: int) -> bool:
        """Whether a word can only be Spanish; with a capital inside a sentence it is a name."""
        lexicon, word = open_lexicon("es"), self.said[n]
        name = n > 0 and self.tokens[self.words[n]][0].isupper()
        return word in lexicon.words and word not in lexicon.english and not name

    def english(self) -> str:
        """The answer."""
        pieces: list[_Piece] = []
        end = 0
        for start, stop, piece in self._pieces():
            pieces += [_Piece("".join(self.tokens[end:start])), piece]
            end = stop
        pieces.append(_Piece("".join(self.tokens[end:])))
        return "".join(piece.text for piece in _ordered(pieces))

    def _pieces(self) -> Iterator[tuple[int, int, _Piece]]:
        """Words and phrases in English, with the tokens where they begin and end."""
        n, before = 0, _Piece("")
        while n < len(self.words):
            colour = self._colour(n, before)
            length, entry = (1, colour) if colour else self._longest(n)
            if entry is None:
                before = self._little(n)
            else:
                before = _Piece(entry.english, "adjective" if entry.adjective else "thing")
            last = n + length - 1
            yield self.words[n], self.words[last] + 1, before
            n = last + 1

    def _colour(self, n: int, before: _Piece) -> Entry | None:
        """The colour that a thing's name means behind a thing: "un gato naranja"."""
        follows = before.kind == "thing" and self.spanish and self._joined(n - 1)
        return Entry(_AFTER_THINGS[self.said[n]], adjective=True) if follows and self.said[n] in _AFTER_THINGS else None

    def _joined(self, n: int) -> bool:
        """Whether only space stands between a word and the next."""
        return "".join(self.tokens[self.words[n] + 1 : self.words[n + 1]]).isspace()

    def _longest(self, n: int) -> tuple[int, Entry | None]:
        """How many words the longest phrase that begins here has, and what it is."""
        longest = 1
        while n + longest < len(self.words) and longest < LONGEST and self._joined(n + longest - 1):
            longest += 1
        for length in range(longest, 1, -1):
            entry = self._phrase(n, length)
            if entry is not None and not (entry.loose and length < self.things):
                return length, entry
        entry = self._word(n)
        return 1, None if entry is not None and entry.loose and self.things > 1 else entry

    def _phrase(self, n: int, length: int) -> Entry | None:
        said = self.said[n : n + length]
        if self.russian[n]:
            return open_lexicon("ru").phrases.get(tuple(map(russian_stem, said)))
        entry = open_lexicon("es").phrases.get(tuple(map(spanish_stem, said)))
        return entry if self.spanish or any(self._foreign(i) for i in range(n, n + length)) else None

    def _word(self, n: int) -> Entry | None:
        word = self.said[n]
        if self.russian[n]:
            return open_lexicon("ru").words.get(word)
        if word in _ARTICLES or (word in _BETWEEN["es"] and self._between(n)):
            return None
        return open_lexicon("es").words.get(word) if self.spanish or self._foreign(n) else None

    def _between(self, n: int) -> bool:
        """Whether a word has others on both sides that it can hold together."""
        return 0 < n < len(self.words) - 1 and self.said[n - 1] not in _ARTICLES

    def _little(self, n: int) -> _Piece:
        """An article, a preposition, or a word that is not known."""
        token, word = self.tokens[self.words[n]], self.said[n]
        if self.russian[n]:
            return _Piece(_BETWEEN["ru"].get(word, token) if self._between(n) else token)
        if not self.spanish:
            return _Piece(token)
        if word in _ARTICLES:
            return _Piece(_ARTICLES[word] if n < len(self.words) - 1 else token, "article")
        if word in _BETWEEN["es"]:
            return _Piece(_BETWEEN["es"][word] if self._between(n) else token)
        return _Piece(token, "thing")


def _ordered(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Adjectives before the things that they follow, and "an" before vowels."""
    done: list[_Piece] = []
    for piece in pieces:
        if piece.kind == "adjective" and len(done) > 1 and done[-2].kind == "thing" and done[-1].text == " ":
            done[-2:] = [_Piece(f"{piece.text} {done[-2].text}", "thing")]
        else:
            done.append(piece)
    for article, thing in zip(done, done[2:]):
        if article.kind == "article" and article.text == "a" and thing.text[:1].lower() in tuple("aeiou"):
            article.text = "an"
    return done
