"""The forms of a word in which a drawing is known by name: "cats" is "cat", "corazones" "corazón", "в шляпе" "шляпа".

Rules guess; whoever knows the names chooses among the guesses. What follows no rule stands in a small table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, product

_IRREGULAR = {
    "men": "man", "women": "woman", "people": "person", "children": "child", "mice": "mouse", "geese": "goose",
    "feet": "foot", "teeth": "tooth", "leaves": "leaf", "wolves": "wolf", "knives": "knife", "loaves": "loaf",
    "люди": "человек", "людей": "человек", "дети": "ребёнок", "детей": "ребёнок", "деревья": "дерево",
    "деревьев": "дерево", "деревьями": "дерево", "цветы": "цветок", "цветка": "цветок", "цветком": "цветок",
    "цветов": "цветок", "птенца": "птенец", "яиц": "яйцо", "львов": "лев", "льва": "лев", "пса": "пёс", "зайца": "заяц",
    "зайцев": "заяц", "рта": "рот", "другом": "друг",
    "table": "wooden table", "tables": "wooden table", "mesa": "wooden table", "стол": "wooden table",
    "столе": "wooden table", "столом": "wooden table", "sofa": "couch and lamp", "couch": "couch and lamp",
    "sofá": "couch and lamp", "диване": "couch and lamp", "диван": "couch and lamp",
}  # fmt: skip
"""Also some things that scenes often have and that sentence vectors find no name for."""
_ENGLISH = ((r"(\w+[^aeiou])ies", "y"), (r"(\w+(?:s|x|z|ch|sh|o))es", ""), (r"(\w+[^su])s", ""))
_SPANISH = ((r"(\w+)ces", "z"), (r"(\w+)ones", "ón"), (r"(\w+)anes", "án"), (r"(\w+[lrdnjy])es", ""))
_RUSSIAN = (
    ("ого", ("ый", "ий", "ой")), ("его", ("ий",)), ("ому", ("ый",)), ("ую", ("ая",)), ("юю", ("яя",)),
    ("ым", ("ый", "ое")), ("им", ("ий",)), ("ом", ("", "о", "ый", "ок")), ("ем", ("ь", "й", "е", "ый", "ий", "")),
    ("ём", ("ь", "ей")), ("ых", ("ый", "ая", "ое")), ("их", ("ий", "ая")), ("ые", ("ый", "ая", "ое")),
    ("ие", ("ий", "ая", "ия")), ("ой", ("а", "ая")), ("ей", ("я", "ь", "а", "яя")), ("ами", ("", "а", "о")),
    ("ями", ("ь", "я", "е")), ("ов", ("", "о")), ("ев", ("й", "ь")), ("ах", ("а", "о", "и", "")), ("ях", ("я", "ь")),
    ("ек", ("ка",)), ("ок", ("ка", "ок")), ("ке", ("ка", "ок", "к")), ("ка", ("ок", "ка", "к")), ("ца", ("ец", "ца")),
    ("ы", ("а", "", "ы")), ("и", ("а", "я", "ь", "")), ("у", ("", "а", "о")), ("ю", ("я", "ь")),
    ("е", ("а", "", "о", "я")), ("а", ("", "о", "е")), ("я", ("ь", "й", "е")),
)  # fmt: skip
_VOWELS = "аеёиоуыэюяьй"
MOST = 48


def base_forms(text: str, *, many: bool = False) -> tuple[str, ...]:
    """What a phrase may be as the name of one thing, the phrase itself last.

    Args:
        text: "red hearts", "corazones rojos", "собаку".
        many: the phrase is counted, so English and Spanish words are plurals.
    """
    words = text.split()
    choices = [tuple(dict.fromkeys([*_forms(word.lower(), many), word])) for word in words]
    found = dict.fromkeys(" ".join(chosen) for chosen in islice(product(*choices), MOST))
    found.pop(text, None)
    return (*found, text)


def _forms(word: str, many: bool) -> Iterator[str]:
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    elif re.fullmatch("[а-яё]{3,}", word):
        if word[-1] not in _VOWELS:
            yield from (own + end for own in (word, word.replace("ё", "е")) for end in ("а", "о"))
        for ending, others in _RUSSIAN:
            if word.endswith(ending) and len(word) - len(ending) >= 2:
                stem = word[: len(word) - len(ending)]
                yield from (own + other for other in others for own in dict.fromkeys((stem, stem.replace("ё", "е"))))
    elif many:
        for pattern, other in (*_ENGLISH, *_SPANISH):
            if match := re.fullmatch(pattern, word):
                yield match[1] + other
