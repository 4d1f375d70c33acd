"""How well Spanish and Russian prompts are understood, with and without the lexicon.

A prompt is understood when the name that the bundled painter remembers as the likest is of the right thing.

* everyday: 60 nouns a language, all of them in the lexicon; `forms` has them in another case, number or gender, `told`
  in a phrase with an adjective;
* keywords: words that Unicode's CLDR says of one emoji or a few, and names of faces: all in the lexicon too, so what is
  missed "with" it are mostly things that the painter does not know, or knows by another name;
* names: what emoji are called in CLDR, which the sentence encoder was taught;
* english: names in English, which must stay what they are.

Usage: python benchmarks/languages.py [--misses]
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Sequence
from pathlib import Path

import torch

import lienzo.data
from lienzo.data.lexicon import to_english
from lienzo.data.lexicon_tables import LOOSE, table_rows
from lienzo.data.phrases import bare, find_colour
from lienzo.data.words import singular
from lienzo.tasks.engines.painter import WHOLE_NAME
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

COUNT = 300  # keywords and names of each language
# English, the noun, the noun in another form, and a phrase.
SPANISH = """
fox;zorro;zorros;un zorro pequeño|cat;gato;gatas;un gato negro|dog;perro;perros;un perro grande|
apple;manzana;manzanas;una manzana verde|tree;árbol;árboles;un árbol viejo|house;casa;casas;una casa de madera|
car/automobile;coche;coches;un coche rojo|fish;pez;peces;un pez azul|bird;pájaro;pájaros;un pájaro amarillo|
flower/blossom/bouquet;flor;flores;una flor rosa|horse;caballo;caballos;un caballo blanco|
cow;vaca;vacas;una vaca gorda|pig;cerdo;cerdos;un cerdo rosado|bear;oso;osos;un oso marrón|
lion;león;leones;un león dormido|rabbit;conejo;conejos;un conejo blanco|duck;pato;patos;un pato amarillo|
owl;búho;búhos;un búho de noche|butterfly;mariposa;mariposas;una mariposa azul|
bee/honeybee;abeja;abejas;una abeja pequeña|snake;serpiente;serpientes;una serpiente verde|
frog;rana;ranas;una rana verde|whale;ballena;ballenas;una ballena azul|mouse;ratón;ratones;un ratón gris|
chicken/hen;gallina;gallinas;una gallina blanca|sun;sol;soles;el sol brillante|moon;luna;lunas;la luna llena|
star;estrella;estrellas;una estrella amarilla|cloud;nube;nubes;una nube blanca|
mountain;montaña;montañas;una montaña nevada|umbrella;paraguas;paraguas;un paraguas rojo|
book;libro;libros;un libro abierto|key;llave;llaves;una llave vieja|clock/watch;reloj;relojes;un reloj antiguo|
chair/seat;silla;sillas;una silla de madera|bed;cama;camas;una cama grande|door;puerta;puertas;una puerta roja|
lamp/light;lámpara;lámparas;una lámpara amarilla|candle;vela;velas;una vela roja|
bicycle/bike;bicicleta;bicicletas;una bicicleta azul|ship/boat;barco;barcos;un barco grande|
train/locomotive;tren;trenes;un tren rápido|airplane/plane;avión;aviones;un avión blanco|
bread;pan;panes;un pan fresco|cheese;queso;quesos;un queso amarillo|egg;huevo;huevos;un huevo frito|
carrot;zanahoria;zanahorias;una zanahoria naranja|strawberry;fresa;fresas;una fresa roja|
lemon;limón;limones;un limón amarillo|grape;uva;uvas;unas uvas verdes|cake;tarta;tartas;una tarta de cumpleaños|
ice cream;helado;helados;un helado de chocolate|hat/cap;sombrero;sombreros;un sombrero negro|
shoe/shoes;zapato;zapatos;un zapato viejo|dress;vestido;vestidos;un vestido rojo|
heart;corazón;corazones;un corazón roto|crown;corona;coronas;una corona dorada|sword;espada;espadas;una espada larga|
ghost;fantasma;fantasmas;un fantasma alegre|castle;castillo;castillos;un castillo antiguo
"""
RUSSIAN = """
fox;лиса;лису;маленькая лиса|cat;кот;котов;чёрный кот|dog;собака;собаки;большая собака|
apple;яблоко;яблоки;зелёное яблоко|tree;дерево;деревья;старое дерево|house;дом;дома;деревянный дом|
car/automobile;машина;машину;красная машина|fish;рыба;рыбу;синяя рыба|bird;птица;птицы;жёлтая птица|
flower/blossom/bouquet;цветок;цветы;розовый цветок|horse;лошадь;лошади;белая лошадь|cow;корова;коров;толстая корова|
pig;свинья;свиньи;розовая свинья|bear;медведь;медведя;бурый медведь|lion;лев;льва;спящий лев|
rabbit;кролик;кроликов;белый кролик|duck;утка;утки;жёлтая утка|owl;сова;сову;ночная сова|
butterfly;бабочка;бабочку;синяя бабочка|bee/honeybee;пчела;пчёлы;маленькая пчела|snake;змея;змею;зелёная змея|
frog;лягушка;лягушек;зелёная лягушка|whale;кит;киты;синий кит|mouse;мышь;мыши;серая мышь|
chicken/hen;курица;курицу;белая курица|sun;солнце;солнца;яркое солнце|moon;луна;луну;полная луна|
star;звезда;звёзды;жёлтая звезда|cloud;облако;облака;белое облако|mountain;гора;горы;снежная гора|
umbrella;зонт;зонты;красный зонт|book;книга;книги;открытая книга|key;ключ;ключи;старый ключ|
clock/watch;часы;часов;старинные часы|chair/seat;стул;стулья;деревянный стул|bed;кровать;кровати;большая кровать|
door;дверь;двери;красная дверь|lamp/light;лампа;лампу;жёлтая лампа|candle;свеча;свечи;красная свеча|
bicycle/bike;велосипед;велосипеды;синий велосипед|ship/boat;корабль;корабли;большой корабль|
train/locomotive;поезд;поезда;быстрый поезд|airplane/plane;самолёт;самолёты;белый самолёт|
bread;хлеб;хлеба;свежий хлеб|cheese;сыр;сыра;жёлтый сыр|egg;яйцо;яйца;белое яйцо|
carrot;морковь;моркови;оранжевая морковь|strawberry;клубника;клубнику;красная клубника|
lemon;лимон;лимоны;жёлтый лимон|grape;виноград;винограда;зелёный виноград|cake;торт;торты;торт на день рождения|
ice cream;мороженое;мороженого;шоколадное мороженое|hat/cap;шляпа;шляпу;чёрная шляпа|
shoe/shoes;ботинок;ботинки;старый ботинок|dress;платье;платья;красное платье|heart;сердце;сердца;разбитое сердце|
crown;корона;короны;золотая корона|sword;меч;мечи;длинный меч|ghost;привидение;привидения;весёлое привидение|
castle;замок;замки;старинный замок
"""

Prompt = tuple[str, tuple[str, ...]]  # and what its thing is called in English


def everyday(text: str, column: int) -> list[Prompt]:
    """The prompts of a column: 1 nouns, 2 their forms, 3 phrases."""
    rows = [row.split(";") for row in text.replace("\n", "").split("|")]
    return [(row[column], tuple(row[0].split("/"))) for row in rows]


def told(language: str, loose: bool, rng: random.Random) -> list[Prompt]:
    """Keywords (`loose`) or names of CLDR's table, with the English that it has for them."""
    table = (Path(lienzo.data.__file__).parent / "lexicon_cldr.tsv").read_text("utf-8")
    prompts = [
        (word.removeprefix(LOOSE), (row.english,))
        for row in table_rows(table)
        for word in (row.es if language == "es" else row.ru)
        if word.startswith(LOOSE) == loose
    ]
    return rng.sample(prompts, min(COUNT, len(prompts)))


def understood(name: str, things: Sequence[str]) -> bool:
    """Whether a remembered name holds one of the things, each in its singular or plural."""
    words = [singular(word) for word in re.findall(r"[\w']+", name.lower())]
    for thing in things:
        wanted = [singular(word) for word in re.findall(r"[\w']+", thing.lower())]
        if any(words[i : i + len(wanted)] == wanted for i in range(len(words))):
            return True
    return False


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", action="store_true", help="list what is not understood with the lexicon")
    options = parser.parse_args()
    torch.set_num_threads(1)
    memory, read = load_model(resolve("painter")).memory, load_model(resolve("sentence"))

    @torch.no_grad()
    def likest(text: str) -> tuple[float, str]:
        likeness = memory.likeness(read([text]))[0]
        best = int(likeness.argmax())
        return float(likeness[best]), memory.names[int(memory.name[best])]

    def raw(text: str) -> tuple[float, str]:
        thing, colour = find_colour(text)
        whole = likest(bare(text))
        return whole if colour is None or whole[0] > WHOLE_NAME else likest(bare(thing))

    def with_lexicon(text: str) -> tuple[float, str]:
        return max(raw(to_english(text)), raw(text), key=lambda each: each[0])

    rng = random.Random(0)
    english = rng.sample([(name, (name,)) for name in memory.names if name.isascii()], COUNT)
    sets: dict[str, list[Prompt]] = {}
    for language, text in (("es", SPANISH), ("ru", RUSSIAN)):
        sets |= {f"{language} {kind}": everyday(text, n) for n, kind in enumerate(("everyday", "forms", "told"), 1)}
        sets[f"{language} keywords"] = told(language, True, rng)
        sets[f"{language} names"] = told(language, False, rng)
    print(f"{'prompts':14} {'n':>4} {'without':>8} {'with':>8}")
    for title, prompts in [*sets.items(), ("english", english)]:
        without = [understood(raw(text)[1], things) for text, things in prompts]
        with_it = [understood(with_lexicon(text)[1], things) for text, things in prompts]
        print(f"{title:14} {len(prompts):4} {sum(without) / len(prompts):8.3f} {sum(with_it) / len(prompts):8.3f}")
        if options.misses:
            for (text, things), fine, was in zip(prompts, with_it, without):
                if not fine:
                    mark = "LOST " if was else ""
                    print(f"    {mark}{text} -> {to_english(text)}: {with_lexicon(text)[1]}, not {things}")


if __name__ == "__main__":
    main()
