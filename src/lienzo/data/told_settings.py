"""What a sentence says of ground and sky: "a fox in the snow at night" is a fox, snow below and night above."""

from __future__ import annotations

import re
from dataclasses import dataclass

_THE = r"(?:the |an? |el |la |un |una )?"
_GROUNDS: dict[str, str] = {
    "grass": rf"(?:on|in) {_THE}(?:green )?(?:grass|lawn|meadow|field)|"
    rf"(?:en|sobre) {_THE}(?:hierba|césped|pasto|prado|campo)|"
    r"(?:на|в) (?:зелёной )?(?:траве|лугу|лужайке|поле)",
    "snow": rf"(?:in|on) {_THE}snow|(?:en|sobre) {_THE}nieve|(?:на|в) снегу",
    "beach": rf"(?:on|at) {_THE}(?:beach|sand)|(?:en|sobre) {_THE}(?:playa|arena)|на (?:пляже|песке)",
    "desert": rf"in {_THE}desert|en {_THE}desierto|в пустыне",
    "sea": rf"(?:in|on|at) {_THE}(?:sea|ocean|water|lake)|(?:en|sobre) {_THE}(?:mar|océano|agua|lago)|"
    r"(?:в|на) (?:море|океане|воде|озере)",
}
_SKIES: dict[str, str] = {
    "night": r"(?:under|in|against) (?:the |an? )?(?:(?:starry )?night sky|starry (?:sky|night)|stars)|at night|"
    r"(?:bajo|en) (?:el|un) cielo (?:nocturno|estrellado)|bajo las estrellas|(?:de|por la|en la) noche|"
    r"(?:под|на) (?:ночным|звёздным|звездным) (?:небом|небе)|ночью|под звёздами",
    "sunset": r"(?:at|in the|during|against the) (?:sunset|sunrise|dusk|dawn)|al (?:atardecer|amanecer|anochecer)|"
    r"en la puesta de sol|на (?:закате|рассвете|восходе)",
    "space": r"in (?:outer )?space|en el espacio|в космосе",
    "day": r"(?:under|in|against) (?:the |an? )?(?:blue |clear )?sky|(?:en|bajo) (?:el|un) cielo(?: azul| despejado)?|"
    r"(?:в|на|под) (?:синем |голубом |синим |голубым )?(?:небе|небом)",
}
_ENDS = {
    (kind, name): re.compile(rf"(.+?)\s*,?\s+(?:{words})", re.IGNORECASE)
    for kind, table in (("ground", _GROUNDS), ("sky", _SKIES))
    for name, words in table.items()
}
FLOATING = ("space", "day")  # skies that a thing is in when no ground is told


@dataclass(frozen=True)
class Setting:
    """What is behind the things.

    Attributes:
        ground: "grass", "snow", "beach", "desert", "sea", or None.
        sky: "night", "sunset", "space", "day", or None for the one that suits the ground.
    """

    ground: str | None = None
    sky: str | None = None

    @property
    def floating(self) -> bool:
        """Whether things are in the sky and stand on nothing."""
        return self.ground is None and self.sky in FLOATING


def told_setting(text: str) -> tuple[str, Setting | None]:
    """A sentence without the setting at its end, and the setting, or None where none is told."""
    found: dict[str, str] = {}
    while True:
        for (kind, name), words in _ENDS.items():
            if kind not in found and (match := words.fullmatch(text)):
                text, found[kind] = match[1], name
                break
        else:
            break
    return text, Setting(found.get("ground"), found.get("sky")) if found else None
