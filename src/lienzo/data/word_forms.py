"""The forms of a phrase in which a drawing is known by name: "cats" is "cat", "corazones" "corazón", "в шляпе" "шляпа".

The lexicon leads Spanish and Russian words back, since it has all forms of its words (`inflection.py`); English plurals
are guessed (`words.py`). Whoever knows the names chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, product

from lienzo.data.inflection import folded
from lienzo.data.lexicon import to_english
from lienzo.data.lexicon_tables import open_lexicon
from lienzo.data.synonyms import synonym
from lienzo.data.words import singulars

MOST = 48


def base_forms(text: str, *, many: bool = False) -> tuple[str, ...]:
    """What a phrase may be as the name of one thing, also in English, the phrase itself last.

    Args:
        text: "red hearts", "corazones rojos", "собаку".
        many: the phrase is counted, so English and Spanish words are plurals.
    """
    found: dict[str, None] = {}
    for said in dict.fromkeys((to_english(text), text)):
        choices = [tuple(dict.fromkeys(_forms(word, many))) for word in said.split()]
        found |= dict.fromkeys(" ".join(chosen) for chosen in islice(product(*choices), MOST))
    found.pop(text, None)
    return (*found, text)


def _forms(word: str, many: bool) -> Iterator[str]:
    low = folded(word)
    if re.match("[а-я]", low):
        known = open_lexicon("ru").words.get(low)
        yield known.base if known else word
        return
    single = tuple(singulars(low)) if many else ()
    yield from filter(None, map(synonym, (*single, low)))
    if many:
        yield from single
        known = open_lexicon("es").words.get(low)
        yield from (known.base,) if known else ()
    yield word
