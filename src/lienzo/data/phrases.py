"""The words of prompts and captions in English, Spanish and Russian: styles, colours and sentence templates."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

LANGUAGES = ("en", "es", "ru")


@dataclass(frozen=True)
class Style:
    """A drawing style.

    Attributes:
        name: also the name of its filter.
        en, es, ru: its words by language; captions say them, the first most often.
        filter: whether it can be painted afterwards where a model has not learned it.
        also: words of any language that prompts may say too.
    """

    name: str
    en: tuple[str, ...]
    es: tuple[str, ...]
    ru: tuple[str, ...]
    filter: bool = False
    also: tuple[str, ...] = ()

    def words(self, language: str) -> tuple[str, ...]:
        """The style's phrases in `en`, `es` or `ru`."""
        return {"en": self.en, "es": self.es, "ru": self.ru}[language]


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style("soft shaded", ("soft shaded", "shaded"), ("sombreado suave", "sombreado"), ("мягкие тени", "с тенями")),
        Style("glossy 3d", ("glossy 3d", "3d", "glossy"), ("3d brillante", "brillante"), ("глянцевый 3d", "глянцевый")),
        Style("flat", ("flat",), ("plano",), ("плоский",)),
        Style("simple", ("simple",), ("sencillo", "simple"), ("простой",)),
        Style("classic", ("classic",), ("clásico",), ("классический",)),
        Style(
            "outlined",
            ("outlined", "outline"),
            ("con contorno", "delineado"),
            ("контурный",),
            True,
            ("comic", "cartoon", "cómic", "комикс"),
        ),
        Style("blob", ("blob", "old android"), ("gota",), ("капля",)),
        Style("retro", ("retro",), ("retro",), ("ретро",)),
        Style(
            "line icon",
            ("line icon", "icon"),
            ("icono de líneas", "icono"),
            ("линейная иконка", "иконка"),
            True,
            ("line art", "line drawing", "coloring page", "dibujo lineal", "para colorear", "раскраска"),
        ),
        Style(
            "black silhouette",
            ("black silhouette", "silhouette"),
            ("silueta negra", "silueta"),
            ("силуэт",),
            True,
            ("stencil", "plantilla", "трафарет"),
        ),
        Style("clip art", ("clip art", "clipart"), ("clip art",), ("клипарт",)),
        Style("watercolor", ("watercolor", "watercolour", "aquarelle"), ("acuarela",), ("акварель", "акварелью"), True),
        Style(
            "oil painting",
            ("oil painting", "oil paint", "in oil"),
            ("pintura al óleo", "al óleo", "óleo"),
            ("масляная живопись", "масляными красками", "маслом", "масло"),
            True,
        ),
        Style(
            "pencil",
            ("pencil drawing", "pencil sketch", "pencil", "sketch"),
            ("dibujo a lápiz", "a lápiz", "lápiz", "boceto"),
            ("рисунок карандашом", "карандашом", "карандаш", "набросок"),
            True,
        ),
        Style(
            "pixel art",
            ("pixel art", "pixelated", "8 bit"),
            ("arte de píxeles", "pixel art", "píxeles"),
            ("пиксель арт", "пиксельный"),
            True,
        ),
        Style("mosaic", ("mosaic",), ("mosaico",), ("мозаика", "мозаикой"), True),
        Style("stained glass", ("stained glass",), ("vitral", "vidriera"), ("витраж",), True),
        Style("pointillism", ("pointillism", "pointillist"), ("puntillismo", "puntillista"), ("пуантилизм",), True),
    )
}

COLOURS: dict[str, dict[str, tuple[str, ...]]] = {
    "red": {"en": ("red",), "es": ("rojo", "roja"), "ru": ("красный", "красная", "красное")},
    "orange": {"en": ("orange",), "es": ("naranja",), "ru": ("оранжевый", "оранжевая", "оранжевое")},
    "yellow": {"en": ("yellow",), "es": ("amarillo", "amarilla"), "ru": ("жёлтый", "жёлтая", "желтый", "жёлтое")},
    "green": {"en": ("green",), "es": ("verde",), "ru": ("зелёный", "зелёная", "зеленый", "зелёное")},
    "blue": {"en": ("blue",), "es": ("azul",), "ru": ("синий", "синяя", "голубой", "синее")},
    "purple": {
        "en": ("purple", "violet"),
        "es": ("morado", "morada", "violeta"),
        "ru": ("фиолетовый", "фиолетовая", "фиолетовое"),
    },
    "pink": {"en": ("pink",), "es": ("rosa", "rosado", "rosada"), "ru": ("розовый", "розовая", "розовое")},
    "brown": {"en": ("brown",), "es": ("marrón", "café"), "ru": ("коричневый", "коричневая", "коричневое")},
    "white": {"en": ("white",), "es": ("blanco", "blanca"), "ru": ("белый", "белая", "белое")},
    "black": {"en": ("black",), "es": ("negro", "negra"), "ru": ("чёрный", "чёрная", "черный", "чёрное")},
    "gray": {"en": ("gray", "grey"), "es": ("gris",), "ru": ("серый", "серая", "серое")},
}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "en": ("{}", "a {}", "a drawing of a {}", "an icon of a {}", "a picture of a {}", "the {}", "one {}"),
    "es": ("{}", "un {}", "una {}", "un dibujo de un {}", "un icono de {}", "una imagen de {}"),
    "ru": ("{}", "рисунок {}", "изображение: {}", "картинка {}", "иконка {}"),
}
STYLED: dict[str, tuple[str, ...]] = {
    "en": ("{text}, {style}", "{text} in {style} style", "a {style} drawing of {text}", "{style} {text}"),
    "es": ("{text}, {style}", "{text} en estilo {style}", "dibujo {style} de {text}"),
    "ru": ("{text}, {style}", "{text} в стиле {style}", "{style}: {text}"),
}


def things() -> list[str]:
    """The names of about a thousand things that the bundled painter was trained to draw, in English."""
    return (Path(__file__).parent / "things.txt").read_text("utf-8").split("\n")[:-1]


def coloured(name: str, colour: str, language: str, rng: random.Random) -> str:
    """`name` with a colour word where the language puts it: before it, but after it in Spanish."""
    word = rng.choice(COLOURS[colour][language])
    return f"{name} {word}" if language == "es" else f"{word} {name}"


def plain(text: str) -> str:
    """Lower case, compatibility-folded, single spaces: the form in which words are compared."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).lower().replace("-", " ")).strip()


def find_style(text: str, own: Sequence[str] = ()) -> tuple[str, Style | None]:
    """Split a prompt into its subject and the style named in it.

    The longest style phrase of any language wins, together with the comma or the words around it that belong to
    it ("in ... style", "a ... drawing of"). A text that is nothing but a style keeps its words.

    Args:
        text: the prompt.
        own: further styles that a model knows by name, such as "hokusai". They are found as "in the style of Hokusai",
            "by Hokusai", "al estilo de Hokusai" and, in Russian letters and cases, "в стиле Хокусая".

    Returns:
        The text without the style phrase, and the style or None.
    """
    low = plain(text)
    styles = [*STYLES.values(), *(own_style(name) for name in own if name not in STYLES)]
    found = [
        (len(word), word, style)
        for style in styles
        for word in map(plain, (*style.en, *style.es, *style.ru, *style.also))
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", low)
    ]
    if not found:
        return _russian_style(text, low, [style for style in styles if style.name not in STYLES])
    _, word, style = max(found, key=lambda item: item[0])
    rest = _without(low, word, style.name not in STYLES)
    return (text if rest in _ARTICLES else rest), style


def find_colour(text: str) -> tuple[str, str | None]:
    """Split "a purple cat" into what is drawn, "a cat", and the colour that all of it has, "purple".

    The colour stands before the thing, or behind it in Spanish. Two colours, or one of a part ("a cat with a blue
    hat"), are left in the text.

    Returns:
        The text without the colour word, and the colour's English name or None.
    """
    words = unicodedata.normalize("NFKC", text).lower().split()  # hyphens stay: "red-haired" is no colour
    found = [(i, colour) for i, word in enumerate(words) if (colour := _COLOUR_OF.get(word)) is not None]
    if len(found) != 1 or len(words) < 2:
        return text, None
    i, colour = found[0]
    rest = words[:i] + words[i + 1 :]
    first = i == 0 or (i == 1 and words[0] in _COUNTS)
    last = i == len(words) - 1 and len(rest) <= 3 and words[i] in _SPANISH_COLOURS and words[i - 1] != "de"
    if not (first or last) or all(word in _ARTICLES for word in rest):
        return text, None
    return " ".join(rest), colour


def bare(text: str) -> str:
    """ "a fox" without its article: "fox"."""
    first, _, rest = text.strip().partition(" ")
    return rest.strip() if first.lower() in _ALONE and rest.strip() else text


_ALONE = ("a", "an", "the", "one", "un", "una", "el", "la", "один", "одна", "одно")
_COUNTS = (*_ALONE, "two", "three", "dos", "tres", "два", "две", "три")
_COLOUR_OF = {word: colour for colour, forms in COLOURS.items() for words in forms.values() for word in words}
_SPANISH_COLOURS = {word for forms in COLOURS.values() for word in forms["es"]}


def own_style(name: str) -> Style:
    """A style that is known by its name alone, in any language."""
    return Style(name, (name,), (name,), (name,))


_ARTICLES = ("", "a", "an", "the", "un", "una", "el", "la")
_IN_STYLE = r"\bin the style of (?:an? )?|\b(?:in|en) (?:an? )?(?:estilo )?|\bв стиле |\bdibujo |\bstyle |\bas "
_BY_ARTIST = r"\b(?:al|en el) estilo del? |\ba la manera de |\b(?:by|after|like|de|como|in) |\bкисти |\bв духе "


def _without(low: str, word: str, artist: bool) -> str:
    """A plain text without a style phrase and the words that belong to it."""
    named = rf"(?<!\w){re.escape(word)}(?!\w)"
    before = rf"(?:,\s*)?(?:{_BY_ARTIST}|{_IN_STYLE})?" if artist else rf"(?:,\s*|{_IN_STYLE})?"
    of = r"(?: (?:drawing|painting|picture|icon|sketch))?(?: of| de)\b"
    around = rf"(?:\ba |\ban |\bun |\buna )?{named}{of}|{before}{named}(?: style| стиль)?"
    return re.sub(r"\s+", " ", re.sub(around, " ", low, count=1)).strip(" ,.;:")


_LATIN = dict(
    zip(
        "абвгдезийклмнопрстуфхцчшщъыьэюяё",
        "a b v g d e z i i k l m n o p r s t u f h c ch sh sch  y  e yu ya e".split(" "),
    )
)


def _russian_style(text: str, low: str, own: Sequence[Style]) -> tuple[str, Style | None]:
    """An own style whose name stands in Russian letters, in any case, behind "в стиле", "в духе" or "кисти"."""
    for style in own:
        words = plain(style.name).split()
        match = re.search(rf"(?:,\s*)?\b(?:в стиле|в духе|кисти)((?: [а-яё]+){{{len(words)}}})", low)
        if match is None:
            continue
        said = "".join(_LATIN.get(letter, letter) for letter in match[1].strip())
        if SequenceMatcher(None, said, " ".join(words)).ratio() >= 0.75:
            rest = re.sub(r"\s+", " ", low.replace(match[0], " ", 1)).strip(" ,.;:")
            return rest or text, style
    return text, None
