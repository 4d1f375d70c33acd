import subprocess
import sys
import time
from pathlib import Path

import pytest

import lienzo.data
from lienzo.data.lexicon import to_english
from lienzo.data.lexicon_tables import ENGLISH, LOOSE, TABLES, Row, lexicon_of, open_lexicon, table_rows
from lienzo.data.phrases import find_colour

DATA = Path(lienzo.data.__file__).parent


@pytest.mark.parametrize(
    ("said", "english"),
    [
        ("лиса", "fox"),
        ("Лиса", "fox"),
        ("зорро", "зорро"),
        ("zorro", "fox"),
        ("árbol", "tree"),
        ("ёж", "hedgehog"),
        ("еж", "hedgehog"),
        ("fox", "fox"),
        ("", ""),
        ("42, !", "42, !"),
    ],
)
def test_words(said: str, english: str) -> None:
    assert to_english(said) == english


@pytest.mark.parametrize(
    ("forms", "english"),
    [
        ("лисы лису лисой лис лисам", "fox"),
        ("кошку кошкой кошек кошки", "cat"),
        ("котята котят котёнка", "kitten"),
        ("льва львы львом", "lion"),
        ("пса псы псов", "dog"),
        ("окна окон окну", "window"),
        ("орла орлы", "eagle"),
        ("деревья деревьев дереву", "tree"),
        ("звёзды звезды звёзд звезду", "star"),
        ("муравья муравьёв", "ant"),
        ("музея музеи", "museum"),
        ("мороженого мороженым", "ice cream"),
        ("пожарного пожарные", "firefighter"),
        ("árboles arbol arboles", "tree"),
        ("peces", "fish"),
        ("leones leon leonas", "lion"),
        ("gatas gatos gata", "cat"),
        ("camiones camion", "truck"),
        ("autobuses autobús", "bus"),
    ],
)
def test_forms(forms: str, english: str) -> None:
    assert {to_english(form) for form in forms.split()} == {english}


@pytest.mark.parametrize(
    ("said", "english"),
    [
        ("белого медведя", "polar bear"),
        ("osos polares", "polar bear"),
        ("летучую мышь", "bat"),
        ("un oso polar con gafas de sol", "a polar bear with sunglasses"),
        ("стакан молока на столе", "glass of milk on table"),
        ("лису в шляпе", "fox in hat"),
        ("una taza de café", "a cup of coffee"),
        ("красную лису", "red fox"),
        ("un gato negro grande", "a big black cat"),
        ("una manzana verde", "a green apple"),
        ("un gato naranja", "an orange cat"),
        ("una naranja", "an orange"),
        ("una rosa", "a rose"),
        ("un sobre", "an envelope"),
        ("un libro sobre la mesa", "a book on the table"),
        ("астронавт верхом на лошади", "astronaut riding horse"),
    ],
)
def test_phrases(said: str, english: str) -> None:
    assert to_english(said) == english


@pytest.mark.parametrize(
    "said",
    [
        "an apple pie",
        "a red car",
        "once upon a time",
        "a frying pan on a stove",
        "the sin of pride",
        "pie",
        "pan",
        "red",
        "a sale sign on the main street",
        "a hotel by the sea",
        "rubik's cube simple",
        "Los Angeles at night",
        "San Francisco",
        "a bar in Costa Rica",
        "the son of a baker, oil painting",
        "a man   with  two  spaces",
        "a dog's breakfast - don't touch",
    ],
)
def test_english_stays(said: str) -> None:
    assert to_english(said) == said


def test_words_of_both_languages_are_spanish_in_a_spanish_sentence() -> None:
    assert to_english("pan") == "pan"
    assert to_english("un pan y un queso") == "a bread and a cheese"
    assert to_english("a pan and a perro") == "a pan and a dog"


def test_mixed_languages() -> None:
    assert to_english("a picture of a perro") == "a picture of a dog"
    assert to_english("a лиса with a sombrero") == "a fox with a hat"
    assert to_english("un cohete, pixel art") == "a rocket, pixel art"


@pytest.mark.parametrize("quoted", ['"лиса"', "«лиса»", "“лиса”"])
def test_quotes_stay(quoted: str) -> None:
    assert to_english(f"кошка {quoted}") == f"cat {quoted}"


def test_unknown_words_stay() -> None:
    assert to_english("бармаглот и лиса") == "бармаглот and fox"
    assert to_english("el jabberwock y el zorro") == "the jabberwock and the fox"


def test_loose_words_count_only_alone() -> None:
    rows = [Row("canned food", ("~lata",), ("~жестянка",)), Row("tea", ("té",), ("чай",))]
    found = lexicon_of("ru", rows, frozenset()).words["жестянка"]
    assert (found.english, found.loose) == ("canned food", True)
    assert to_english("жестянка") == "canned food"
    assert to_english("кот и жестянка") == "cat and жестянка"


def test_a_word_of_a_table_counts_for_more_than_a_form() -> None:
    rows = [Row("mouth", (), ("рот",)), Row("company", (), ("рота",))]
    words = lexicon_of("ru", rows, frozenset()).words
    assert words["рота"].english == "company"
    assert words["рту"].english == "mouth"


def test_colours_are_found_after() -> None:
    assert find_colour(to_english("красную лису")) == ("fox", "red")
    assert find_colour(to_english("las flores rojas"))[1] == "red"


def test_every_row_is_well_formed_and_said_once() -> None:
    for name in TABLES:
        rows = list(table_rows((DATA / name).read_text("utf-8")))
        assert len(rows) > 900
        assert all(row.english and (row.es or row.ru) for row in rows)
    for language in ("es", "ru"):
        told: dict[str, str] = {}
        for row in table_rows((DATA / TABLES[0]).read_text("utf-8")):
            for word in row.es if language == "es" else row.ru:
                assert told.setdefault(word, row.english) == row.english, word
                assert LOOSE not in word


def test_the_files_are_small() -> None:
    assert sum((DATA / name).stat().st_size for name in (*TABLES, ENGLISH)) < 200_000


def test_the_unicode_notice_comes_along() -> None:
    notice = (DATA / "lexicon_licences.txt").read_text("utf-8")
    assert "UNICODE LICENSE V3" in notice
    assert "Kevin Atkinson" in notice


def test_a_prompt_is_read_within_a_millisecond() -> None:
    prompts = ("un perro grande con sombrero rojo en la playa", "большая собака в шляпе", "a big dog on the beach")
    for prompt in prompts:
        to_english(prompt)
    start = time.process_time()
    for _ in range(100):
        for prompt in prompts:
            to_english(prompt)
    assert (time.process_time() - start) / 300 < 0.001


def test_tables_are_read_late_and_without_torch() -> None:
    code = (
        "import sys; from lienzo.data import lexicon; from lienzo.data.lexicon_tables import open_lexicon;"
        "assert open_lexicon.cache_info().currsize == 0; lexicon.to_english('лиса');"
        "assert open_lexicon.cache_info().currsize == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_english_lookalikes_are_spanish_forms() -> None:
    lookalikes = set((DATA / ENGLISH).read_text("utf-8").split())
    assert {"pie", "pan", "red"} <= lookalikes <= open_lexicon("es").words.keys()
