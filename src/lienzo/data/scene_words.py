"""The words by which sentences in English, Spanish and Russian say where things are, as regular expressions."""

from __future__ import annotations

import re

APART: dict[str, tuple[str, ...]] = {
    "left of": (
        "(?:to|on) the left of", "left of", "next to", "beside", "near", "alongside",
        "a la izquierda del?", "al lado del?", "junto al?", "cerca del?", "слева от", "рядом со?", "возле", "около",
    ),
    "right of": ("(?:to|on) the right of", "right of", "a la derecha del?", "справа от"),
    "above": ("above", "over", "por encima del?", "над"),
    "below": ("below", "beneath", "por debajo del?"),
}  # fmt: skip
"""What is only beside something else stands to its left."""
BETWEEN = ("in between", "between", "entre", "между")
BEFORE = ("in front of", "delante del?", "enfrente del?", "frente al?", "перед")
BEHIND = ("behind", "detrás del?", "tras", "позади", "сзади", "за")
WEARING = (
    "wearing", "dressed in", "with", "in", "que lleva(?: puest[oa]s?)?", "lleva(?: puest[oa]s?)?", "llevando", "con",
    "vistiendo", "нос[ия]т", "одет(?:ый|ая|ое) в", "в", "во", "со?",
)  # fmt: skip
"""Said of what can be worn; most of them mean something else of other things."""
HOLDING = (
    "holding", "carrying", "sosteniendo", "que sostiene", "sostiene", "sujetando", "llevando", "держит",
    "держащ(?:ий|ая|ее)", "несёт",
)  # fmt: skip
IN_HAND = re.compile(
    r"(.+?)\s+(?:with|con|со?)\s+(.+)\s+(?:in (?:its|his|her|the|their) (?:hands?|paws?)|en la mano|"
    r"в (?:руке|руках|лапе|лапах))",
    re.IGNORECASE,
)
ON_TOP = (
    "sitting on", "standing on", "riding(?: on)?", "lying on", "on top of", "sentad[oa] (?:en|sobre)", "montad[oa] en",
    "encima del?", "сидит на", "стоит на", "лежит на",
)  # fmt: skip
ON = ("upon", "on", "sobre", "на")
UNDER = ("underneath", "under", "debajo del?", "bajo", "под")
IN = ("sitting in", "inside(?: of)?", "in", "dentro del?", "en", "внутри", "в", "во")
WITH = ("with", "con", "со?")
AND = re.compile(r"\s+(?:and|y|e|и)\s+", re.IGNORECASE)
LIST = re.compile(r"\s*,\s*(?:and\s+|y\s+|и\s+)?|\s+(?:and|y|e|и)\s+", re.IGNORECASE)
ARTICLE = re.compile(
    r"(?:an?|the|one|some|his|her|its|un|una|unos|unas|el|la|los|las|su|один|одна|одно|одну)\s", re.IGNORECASE
)

_WORN: dict[str, str] = {
    "head": r"hats?|caps?|crowns?|helmets?|berets?|sombreros?|tiaras?|turbans?|gorr[oa]s?|coronas?|cascos?|boinas?|"
    r"шляп\w{1,3}|кепк\w{1,3}|корон\w{1,3}|шлем\w{0,2}|берет\w{0,2}|шапк\w{1,2}|цилиндр\w{0,2}",
    "ears": r"headphones|auriculares|наушник\w{1,3}",
    "eyes": r"(?:sun|eye)?glasses|goggles|gafas|anteojos|lentes|очк\w{1,3}",
    "neck": r"scar(?:f|ves)|bufandas?|шарф\w{0,3}",
    "throat": r"(?:neck)?ties?|corbatas?|pajarita|галстук\w{0,3}|medal|medalla|медаль\w?",
    "body": r"dress(?:es)?|(?:t-?)?shirts?|coats?|jackets?|kimonos?|vestidos?|camisas?|camisetas?|abrigos?|chaquetas?|"
    r"плать\w{1,2}|рубашк\w{1,2}|пальто|куртк\w{1,2}|кимоно",
}
WORN = {place: re.compile(rf"(?:.*\s)?(?:{words})(?:\s+(?!of\b)\w+){{0,1}}", re.I) for place, words in _WORN.items()}
"""What is worn, by where: "a red hat", "un sombrero rojo"."""

NUMBERS = {
    2: "two|(?:a )?(?:pair|couple) of|2|dos|un par de|дв[ае]|двумя|двух|двое|пара",
    3: "three|3|tres|три|трое|тремя|трёх", 4: "four|4|cuatro|четыре|четырёх", 5: "five|5|cinco|пят[ьи]",
    6: "six|6|seis|шест[ьи]", 7: "seven|7|siete|сем[ьи]", 8: "eight|8|ocho|восемь|восьми", 9: "nine|9|nueve|девят[ьи]",
    10: "ten|10|diez|десят[ьи]", 11: "eleven|11|once|одиннадцат[ьи]",
    12: "twelve|a dozen|12|doce|una docena de|двенадцат[ьи]",
}  # fmt: skip
SHAPES = {
    "row": r"(?:an? |the )?(?:row|line) of|una (?:fila|hilera|línea) de|ряд из",
    "column": r"(?:an? |the )?(?:column|stack|tower|pile) of|una (?:columna|torre|pila) de|(?:столбик|стопка|башня) из",
    "circle": r"(?:an? |the )?(?:circle|ring) of|un (?:círculo|anillo) de|(?:круг|кольцо) из",
    "group": r"(?:an? |the )?group of|un grupo de|группа из",
}
_SHAPED_LIKE = {
    "row": r"in an? (?:straight )?(?:row|line)|en (?:una )?(?:fila|hilera|línea)|в (?:один )?ряд|в (?:одну )?линию|"
    r"рядком",
    "column": r"in an? (?:column|stack)|en (?:una )?columna|в (?:один )?столбик|в колонну|столбиком|стопкой",
    "circle": r"in an? (?:circle|ring)|en (?:un )?círculo|en corro|в (?:круг|кругу)|по кругу|кругом",
}
SHAPED_LIKE = {
    shape: re.compile(rf"(.+?)\s*,?\s+(?:arranged |standing |dispuest[oa]s |puest[oa]s )?(?:{said})", re.IGNORECASE)
    for shape, said in _SHAPED_LIKE.items()
}
"""Said behind what stands so: "five stars in a row"."""
OPEN_ABOVE = re.compile(
    r"(?:.*\s)?(?:box(?:es)?|baskets?|cups?|mugs?|bowls?|vases?|pots?|bags?|buckets?|nests?|hats?|shoes?|boots?|boats?|"
    r"bathtubs?|tubs?|carts?|glass|jars?|backpacks?|crates?|caja|cesta|canasta|taza|cuenco|florero|jarrón|olla|bolsa|"
    r"cubo|nido|sombrero|zapato|bota|barco|bote|bañera|carrito|vaso|mochila|коробк\w{1,2}|корзин\w{1,2}|чашк\w{1,2}|"
    r"кружк\w{1,2}|миск\w{1,2}|ваз\w{1,2}|горшк\w{1,2}|кастрюл\w{1,2}|сумк\w{1,2}|ведр\w{1,2}|гнезд\w{1,2}|"
    r"шляп\w{1,2}|ботинк\w{1,2}|лодк\w{1,2}|ванн\w{1,2}|стакан\w{0,2}|рюкзак\w{0,2})(?:\s+\w+)?",
    re.IGNORECASE,
)
"""What is open above, so that what is in it looks out."""
OF_A_BODY = re.compile(
    r"(?:.*\s)?(?:beard|mustache|moustache|smile|hair|eyes?|ears?|nose|mouth|tail|wings?|legs?|horns?|teeth|face|"
    r"barba|bigote|sonrisa|pelo|ojos?|orejas?|nariz|boca|cola|alas?|piernas?|cuernos?|dientes|cara|бород\w+|ус\w{1,3}|"
    r"улыбк\w+|волос\w+|глаз\w*|уш\w+|нос\w*|хвост\w*|крыл\w+|рог\w+|зуб\w+)(?:\s+\w+)?",
    re.IGNORECASE,
)
"""What somebody has, and does not stand beside: "a man with a beard" is one thing."""
