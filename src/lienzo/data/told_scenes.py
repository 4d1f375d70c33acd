"""What a sentence says of where things stand: "a red apple left of a blue car" is two things and a place for each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from lienzo.data import scene_words as words
from lienzo.data.phrases import COLOURS, bare, plain
from lienzo.data.told_settings import Setting, told_setting

Box = tuple[float, float, float]
"""Left, top and side, as shares of a square picture."""
WHOLE = 0.93  # likeness to a remembered name from which on a sentence is that name
DRAWN = 0.68  # likeness from which on words name something that can be drawn
NUMBERED = 0.005  # likeness that a number must add where it belongs to the name
SURE = 0.78  # the same behind a word that means much else too, such as "in"
MOST_LISTED = 6
IN_ROW = 5

_COLOUR_WORDS = frozenset(plain(word) for forms in COLOURS.values() for own in forms.values() for word in own)
_BOXES: dict[str, tuple[Box, Box]] = {
    "left of": ((0.0, 0.24, 0.52), (0.48, 0.24, 0.52)),
    "right of": ((0.48, 0.24, 0.52), (0.0, 0.24, 0.52)),
    "above": ((0.24, 0.0, 0.52), (0.24, 0.48, 0.52)),
    "below": ((0.24, 0.48, 0.52), (0.24, 0.0, 0.52)),
    "with": ((0.0, 0.14, 0.64), (0.58, 0.36, 0.42)),
}
_TOUCHED = (("on", words.ON_TOP), ("on", words.ON), ("under", words.UNDER), ("in", words.IN))
_SHARED = ("on", "under", "in", "into", "before", "behind")  # "a cat and a dog on a sofa": both are on it
_BETWEEN: tuple[Box, ...] = ((0.32, 0.32, 0.36), (-0.02, 0.32, 0.36), (0.66, 0.32, 0.36))
_ROWS = {2: (2,), 3: (1, 2), 4: (2, 2), 5: (2, 1, 2), 6: (3, 3), 7: (2, 3, 2), 8: (3, 2, 3), 9: (3, 3, 3),
         10: (3, 4, 3), 11: (4, 3, 4), 12: (4, 4, 4)}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """What is said of one thing; `many` where the words are of several, of which this is one."""

    text: str
    many: bool = False


@dataclass(frozen=True)
class Apart:
    """Parts that stand beside each other, each in a box."""

    parts: tuple[Part, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Touching:
    """Two parts that touch: the first is `wearing`, `holding`, `on`, `under`, `in`, `into`,
    `before` or `behind` the second.

    What is `into` something looks out above; what is `in` it is all in sight. Who is wearing something comes first.
    """

    relation: str
    first: Part
    second: Part


Part = Thing | Apart | Touching


class Vocabulary(Protocol):
    """The names that a painter knows; likenesses are at most 1, which the very name has."""

    def nearest(self, text: str) -> tuple[str, float]:
        """The name that a text is likest to, and how like."""
        ...

    def in_any_form(self, text: str) -> float:
        """The same for words that may be plurals, or in any case."""
        ...


@dataclass(frozen=True)
class ToldScene:
    """Things, where they stand, and what is behind them.

    Attributes:
        layout: the things and how they stand to each other.
        setting: ground and sky, or None for white paper.
    """

    layout: Part
    setting: Setting | None = None

    @property
    def things(self) -> tuple[Thing, ...]:
        """All of them; one that is counted comes as often as it is counted."""
        return tuple(_things(self.layout))


def told_scene(text: str, vocabulary: Vocabulary | None = None) -> ToldScene | None:
    """The scene that a sentence in English, Spanish or Russian tells, or None for one thing on white paper.

    Things that are only joined by "and" count as two when the second has an article or both are short: a "black and
    white cat" is one.

    Args:
        text: the sentence.
        vocabulary: the names that the painter knows. A sentence that is one of them, such as "two hearts", is one
            thing; and what is like none of them, as in "a man with a temper", is no thing.
    """
    text = text.strip()
    if vocabulary is not None and vocabulary.nearest(bare(text))[1] >= 1:
        return None
    rest, setting = told_setting(text)
    standing = setting is not None and not setting.floating
    reader = _Reader(vocabulary, standing)
    layout = reader.read(rest)
    if (setting is None and isinstance(layout, Thing)) or (setting is not None and reader.is_name(text, layout)):
        return None
    return ToldScene(layout, setting)


def worn_where(text: str) -> str | None:
    """Where a thing is worn, such as "head" for "a red hat"; None for what is not worn."""
    if _split(text.strip(), words.WEARING):
        return None
    return next((place for place, worn in words.WORN.items() if worn.fullmatch(text.strip())), None)


def _things(part: Part) -> list[Thing]:
    if isinstance(part, Thing):
        return [part]
    parts = part.parts if isinstance(part, Apart) else (part.first, part.second)
    return [thing for own in parts for thing in _things(own)]


class _Reader:
    """Takes sentences apart; the loosest ties first, so that who wears a hat stays under it."""

    def __init__(self, vocabulary: Vocabulary | None, standing: bool):
        self.vocabulary, self.standing = vocabulary, standing

    def is_name(self, text: str, layout: Part) -> bool:
        """Whether a text is the name of one drawing, rather than of the things that it was taken apart into."""
        if self.vocabulary is None:
            return False
        name, likeness = self.vocabulary.nearest(bare(text))
        number, one = _number(text)
        if number:
            return likeness >= max(WHOLE, self.vocabulary.nearest(one)[1] + NUMBERED)
        apart = {self.vocabulary.nearest(bare(thing.text))[0] for thing in _things(layout)}
        return likeness >= WHOLE and name not in apart

    def drawn(self, text: str, least: float = DRAWN) -> bool:
        """Whether a text names something: more than a colour, and something that the painter knows."""
        own = words.ARTICLE.sub("", text.strip(), count=1)
        if not set(plain(own).split()) - _COLOUR_WORDS:
            return False
        number, rest = _number(own)
        return self.vocabulary is None or self.vocabulary.in_any_form(rest if number else own) >= least

    def read(self, text: str) -> Part:
        """The layout of a text."""
        text = text.strip()
        apart = self._shaped(text) or self._apart(text)
        if apart is not None:
            return apart
        for how in (self._listed, self._touching, self._counted):
            part = how(text)
            if part is not None:
                return Thing(text) if self.is_name(text, part) else part
        return Thing(text)

    def _shaped(self, text: str) -> Part | None:
        """Several things and the shape in which they stand: "five stars in a row"."""
        for shape, phrase in words.SHAPED_LIKE.items():
            if match := phrase.fullmatch(text):
                part = self.read(match[1])
                if isinstance(part, Apart) and not self.is_name(text, part):
                    return replace(part, boxes=boxes_of(len(part.parts), shape))
        return None

    def _apart(self, text: str) -> Part | None:
        if pair := _split(text, words.BETWEEN):
            sides = words.AND.split(pair[1], maxsplit=1)
            if len(sides) == 2:
                return Apart(tuple(self.read(part) for part in (pair[0], *sides)), _BETWEEN)
            number, one = _number(pair[1])
            if number == 2:
                return Apart((self.read(pair[0]), Thing(one, True), Thing(one, True)), _BETWEEN)
        for relation, phrases in words.APART.items():
            pair = _split(text, phrases)
            if pair and all(map(_is_thing, pair)):
                return Apart((self.read(pair[0]), self.read(pair[1])), _BOXES[relation])
        return None

    def _listed(self, text: str) -> Part | None:
        parts = tuple(part.strip() for part in words.LIST.split(text) if part.strip())
        pair = tuple(part.strip() for part in words.AND.split(text))
        two = len(pair) == 2 and "," not in text and _stand_apart(pair)
        listed = 3 <= len(parts) <= MOST_LISTED and words.AND.search(text)
        if not (two or listed) or not all(map(_is_thing, parts)) or all(map(worn_where, parts[1:])):
            return None
        read = [self.read(part) for part in parts]
        last, single = read[-1], all(isinstance(part, Thing) or _is_group(part) for part in read[:-1])
        if single and isinstance(last, Touching) and last.relation in _SHARED:
            return replace(last, first=self._beside([*read[:-1], last.first]))
        return self._beside(read)

    def _beside(self, parts: Sequence[Part]) -> Part:
        """Parts beside each other; a group stands among the others and not for itself."""
        found = [one for part in parts for one in (part.parts if _is_group(part) else (part,))]  # type: ignore[union-attr]
        if len(found) == 2:
            return Apart(tuple(found), _BOXES["left of"])
        return Apart(tuple(found), self._boxes(len(found), "group"))

    def _boxes(self, number: int, shape: str) -> tuple[Box, ...]:
        """Boxes for so many things; on the ground few of them stand in a row."""
        in_row = self.standing and shape == "group" and number <= IN_ROW
        return boxes_of(number, "row" if in_row else shape)

    def _touching(self, text: str) -> Part | None:
        for relation, phrases in (("before", words.BEFORE), ("behind", words.BEHIND)):
            pair = _split(text, phrases)
            if pair and self._both(pair, bare_too=True):
                return Touching(relation, self.read(pair[0]), self.read(pair[1]))
        return self._wearing(text) or self._held(text) or self._touched(text)

    def _wearing(self, text: str) -> Part | None:
        pair = _split(text, words.WEARING)
        if pair is None or not self.drawn(pair[0]):
            return None
        worn = [part.strip() for part in words.LIST.split(pair[1]) if part.strip()]
        if not all(map(worn_where, worn)) or not all(map(self.drawn, worn)):
            return None
        wearer = self.read(pair[0])
        many = _number(pair[0])[0] > 1
        for one in sorted(worn, key=lambda own: worn_where(own) == "body", reverse=True):
            own = Thing(words.ARTICLE.sub("", one, count=1), many)
            wearer = _each(wearer, partial(_dressed, own))
        return wearer

    def _held(self, text: str) -> Part | None:
        match = words.IN_HAND.fullmatch(text)
        pair = match.groups() if match else _split(text, words.HOLDING)
        if not pair or not self._both(pair):
            return None
        return _each(self.read(pair[0]), lambda each: Touching("holding", each, self.read(pair[1])))

    def _touched(self, text: str) -> Part | None:
        for relation, phrases in _TOUCHED:
            pair = _split(text, phrases)
            if pair and self._both(pair, SURE if relation == "in" else DRAWN, phrases in (words.ON_TOP, words.UNDER)):
                into = relation == "in" and words.OPEN_ABOVE.fullmatch(pair[1])
                return Touching("into" if into else relation, self.read(pair[0]), self.read(pair[1]))
        pair = _split(text, words.WITH)
        if pair and self._both(pair, SURE) and not words.OF_A_BODY.fullmatch(pair[1]):
            return Apart((self.read(pair[0]), self.read(pair[1])), _BOXES["with"])
        return None

    def _both(self, pair: Sequence[str], least: float = DRAWN, bare_too: bool = False) -> bool:
        """Whether both sides of a relation are things, the second with an article or a number, or also without."""
        named = (
            bare_too
            or words.ARTICLE.match(pair[1])
            or _number(pair[1])[0]
            or re.match("[а-яё]", pair[1], re.IGNORECASE)
        )
        return bool(named) and all(_is_thing(part) and self.drawn(_first_of(part), least) for part in pair)

    def _counted(self, text: str) -> Part | None:
        shape, rest = "group", text
        for name, phrase in words.SHAPES.items():
            if match := re.fullmatch(rf"(?:{phrase})\s+(.+)", text, re.IGNORECASE):
                shape, rest = name, match[1]
        number, one = _number(rest)
        if number < 2 or not self.drawn(one):
            return None
        return Apart((Thing(one, True),) * number, self._boxes(number, shape))


def _split(text: str, phrases: Sequence[str]) -> tuple[str, str] | None:
    """What stands before and behind the first of the phrases, the longer phrase first."""
    match = re.fullmatch(rf"(.+?)\s+(?:{'|'.join(phrases)})\s+(.+)", text, re.IGNORECASE | re.DOTALL)
    return (match[1].strip(), match[2].strip()) if match else None


def _number(text: str) -> tuple[int, str]:
    """How many things a text counts, and of what; 0 where it counts none."""
    for number, said in words.NUMBERS.items():
        if match := re.fullmatch(rf"(?:the |los |las )?(?:{said})\s+(.+)", text.strip(), re.IGNORECASE):
            return number, match[1]
    return 0, text


def _first_of(text: str) -> str:
    """The first thing of a text that may tell of several."""
    every = (*words.ON_TOP, *words.ON, *words.UNDER, *words.IN, *words.WEARING, *words.HOLDING)
    text = words.LIST.split(text)[0]
    pair = _split(text, every)
    return pair[0] if pair else text


def _is_thing(text: str) -> bool:
    """Whether a text names something, more than a colour."""
    return bool(set(plain(words.ARTICLE.sub("", text.strip())).split()) - _COLOUR_WORDS)


def _stand_apart(pair: Sequence[str]) -> bool:
    return bool(words.ARTICLE.match(pair[1]) or _number(pair[1])[0]) or all(len(part.split()) <= 2 for part in pair)


def _is_group(part: Part) -> bool:
    return isinstance(part, Apart) and all(isinstance(own, Thing) for own in part.parts)


def _dressed(worn: Thing, wearer: Part) -> Part:
    return Touching("wearing", wearer, worn)


def _each(part: Part, change: Callable[[Part], Part]) -> Part:
    """A part, or each of a group, changed."""
    if isinstance(part, Apart):
        return replace(part, parts=tuple(_each(own, change) for own in part.parts))
    return change(part)


def boxes_of(number: int, shape: str) -> tuple[Box, ...]:
    """Boxes for so many things of one size in a "row", "column", "circle" or "group"."""
    if shape in ("row", "column"):
        side = min(1 / number, 0.5)
        places = [(i * side, 0.5 - side / 2) for i in range(number)]
        return tuple((x, y, side) if shape == "row" else (y, x, side) for x, y in places)
    if shape == "circle" and number > 2:
        side = min(0.4, 1.9 / (number + 2))
        turns = [2 * math.pi * i / number for i in range(number)]
        far = (1 - side) / 2
        return tuple((far + far * math.sin(turn), far - far * math.cos(turn), side) for turn in turns)
    rows = _ROWS.get(number) or (math.ceil(math.sqrt(number)),) * math.ceil(number / math.ceil(math.sqrt(number)))
    side = 1 / max(*rows, len(rows)) if len(rows) > 1 else 0.5
    top = (1 - side * len(rows)) / 2
    return tuple(
        ((1 - side * row) / 2 + i * side, top + j * side, side) for j, row in enumerate(rows) for i in range(row)
    )
