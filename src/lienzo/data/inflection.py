"""Forms of Spanish and Russian words, by rules: "лиса" to "лису", "pez" to "peces".

A lexicon needs the forms of the words that it has and nothing else; so the rules may make forms that no one says, as
long as those of different words stay apart. What no rule makes ("ухо", "уши") stands in the lexicon itself.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_VOWELS = "аеёиоуыэюя"
_ADJECTIVE = "ый ий ой ая яя ое ее ые ие ого его ому ему ым им ом ем ую юю ей ою ею ых их ыми ими".split()
_NOUN = {  # endings by the last letters of the base form, longest first; what is cut off is the key
    "ей": "ей ья ью ьем ье ьи ьев ьям ьями ьях ея ею еем ее еи еев еям еями еях",  # "муравей", "музей"
    "ье": "ье ья ью ьем ьи ий ьев ьям ьями ьях",
    "ья": "ья ьи ье ью ьей ей ьев ий ьям ьями ьях",
    "ия": "ия ии ию ией ий иям иями иях",
    "ие": "ие ия ию ием ии ий иям иями иях",
    "мя": "мя мени менем мена мен менам менами менах",
    "а": "а ы и е у ой ою ей ею ом ем ов ев ам ами ах",
    "я": "я и е ю ей ею ем ям ями ях й",
    "о": "о а у ом е ам ами ах ов и",
    "е": "е я а ю у ем и ей ов ев ам ям ами ями ах ях",
    "ь": "ь я ю ем е и ей ью ьми ам ями ям ами ях ах ев",
    "й": "й я ю ем е и ев ям ями ях",
    "ы": "ы ов ам ами ах",
    "и": "и ов ей ев ам ями ям ами ах ях ьми",
    "": "а у ом ем е ы и ов ев ей ам ами ах",
}
_ENDINGS = sorted(
    {ending for ending in [*_ADJECTIVE, *" ".join(_NOUN.values()).split()] if ending[0] not in "мь"} | {"ью"},
    key=len,
    reverse=True,
)
_FLEETING = re.compile(r"[ое]([кцлнрв])$")
_SHORT = {
    "ден": "дн",
    "пен": "пн",
    "пес": "пс",
    "лев": "льв",
    "лед": "льд",
    "рот": "рт",
    "лоб": "лб",
    "сон": "сн",
    "заяц": "зайц",
}
_SPANISH_VOWELS = "aeiou"
_ACCENTS = str.maketrans("áéíóúü", "aeiouu")


def folded(word: str) -> str:
    """Lower case, composed, with "ё" as "е", as most people write it."""
    return unicodedata.normalize("NFC", word).lower().replace("ё", "е").replace("’", "'")


def without_accents(word: str) -> str:
    """Spanish as it is typed in haste: "arbol"; "ñ" stays a letter."""
    return unicodedata.normalize("NFC", word).translate(_ACCENTS)


def russian_forms(word: str, adjective: bool = False) -> set[str]:
    """The cases and numbers of a noun or an adjective in its base form, folded; the word itself is among them."""
    word = folded(word)
    if len(word) < 2:
        return {word}
    if _is_adjective(word) or (adjective and word.endswith(("ой", "ий"))):
        return {word} | {word[:-2] + ending for ending in _ADJECTIVE}
    cut, endings = next((cut, ends) for cut, ends in _NOUN.items() if word.endswith(cut))
    stem = word[: len(word) - len(cut)]
    forms = {word} | {stem + ending for ending in endings.split()}
    if cut in ("а", "я", "о", "е", "ы", "и"):
        forms |= _bare_plurals(stem, soft=cut in ("я", "е", "и"))
    if cut in ("", "ь"):
        forms |= {short + ending for short in _shortened(stem) for ending in endings.split() if ending != "ь"}
    if word.endswith(("енок", "онок")):
        young = word[:-4] + ("ят" if word.endswith("енок") else "ат")
        forms |= {young + ending for ending in ("а", "", "ам", "ами", "ах")}
    return forms


def _is_adjective(word: str) -> bool:
    if word.endswith(("ый", "ая", "яя", "ое", "ее")) and len(word) > 4:
        return True
    return len(word) > 4 and word.endswith("ий") and word[-3] in "кгхчщшжн"


def _bare_plurals(stem: str, soft: bool) -> set[str]:
    """The genitive plural without an ending: "лис", "кошек", "окон", "земель"."""
    found = {stem, stem + "ь"} if soft else {stem}
    if len(stem) > 2 and stem[-1] not in _VOWELS and stem[-2] not in _VOWELS:
        before = stem[:-1].rstrip("ьй")
        found |= {f"{before}{vowel}{stem[-1]}{sign}" for vowel in "ое" for sign in ("", "ь" if soft else "")}
    return found


def _shortened(stem: str) -> set[str]:
    """The stem without a vowel that goes when an ending comes: "отец", "отц-"; "орел", "орл-"."""
    if stem in _SHORT:
        return {_SHORT[stem]}
    match = _FLEETING.search(stem)
    if match is None or len(stem) < 4 or not any(letter in _VOWELS for letter in stem[: match.start()]):
        return set()
    before = stem[: match.start()]
    return {before + match[1], f"{before}ь{match[1]}", f"{before}й{match[1]}"}


@lru_cache(maxsize=4096)
def russian_stem(word: str) -> str:
    """A word of a phrase without its ending, to compare phrases by; too coarse for words by themselves."""
    word = folded(word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)].rstrip("ь")
    return word.rstrip("ь")


def spanish_forms(word: str, adjective: bool = False) -> set[str]:
    """Numbers of a noun, numbers and genders of an adjective, and the small one ("gatito"), in lower case."""
    word = folded(word)
    if len(word) < 3:
        return {word}
    forms = {word, *_plurals(word)}
    if adjective and word.endswith("o"):
        forms |= {word[:-1] + "a", word[:-1] + "as"}
    elif adjective and word.endswith(("or", "és", "ol", "ón")):
        forms |= {_unstressed_end(word) + ending for ending in ("a", "as")}
    if word[-1] in "oa" and len(word) > 3:
        small = re.sub(r"z$", "c", re.sub(r"g$", "gu", re.sub(r"c$", "qu", without_accents(word[:-1])))) + "it"
        forms |= {small + word[-1], small + word[-1] + "s"}
    return forms


def _plurals(word: str) -> list[str]:
    if word[-1] == "z":
        return [word[:-1] + "ces"]
    if word[-1] in "íú":
        return [word + "es", word + "s"]
    if word[-1] in _SPANISH_VOWELS + "áéó":
        return [word + "s"]
    if word[-1] in "sx":  # "el paraguas, los paraguas", but "el autobús, los autobuses"
        return [_unstressed_end(word) + "es"] if word[-2] in "áéíóú" else []
    plural = _unstressed_end(word) + "es"
    if word[-2:] == "en" and not set(word) & set("áéíóú"):  # "joven, jóvenes"
        return [plural, re.sub(r"([aeiou])(?=[^aeiou]+enes$)", lambda found: "áéíóú"["aeiou".index(found[1])], plural)]
    return [plural]


def _unstressed_end(word: str) -> str:
    """The word without an accent that it loses in the plural, on the last syllable: "león", but not "árbol"."""
    return word[:-2] + without_accents(word[-2:])


@lru_cache(maxsize=4096)
def spanish_stem(word: str) -> str:
    """A word of a phrase without accents, number and last vowel."""
    word = without_accents(folded(word))
    if len(word) < 4:
        return word
    word = re.sub(r"ces$", "z", word) if word.endswith("ces") and len(word) > 5 else word
    return re.sub(r"[aeo]s?$|s$", "", word) or word
