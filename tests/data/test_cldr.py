import io
import json
import tarfile
from pathlib import Path

from lienzo.data.cldr import cldr_rows, read_annotations, table_text
from lienzo.data.emojibase import Emoji, Emojibase
from lienzo.data.lexicon_tables import Row, table_rows

FOX, CAT, BABY, LIONESS = "🦊", "🐈", "👶", "🦁"


def _emoji(character: str, name: str, group: str) -> Emoji:
    return Emoji(f"{ord(character):X}", name, {"en": [name]}, group, "")


def _base() -> Emojibase:
    emoji = [
        _emoji(FOX, "fox", "animals-nature"),
        _emoji(CAT, "cat", "animals-nature"),
        _emoji(LIONESS, "lion", "animals-nature"),
        _emoji(BABY, "baby", "people-body"),
    ]
    return Emojibase({each.hexcode: each for each in emoji}, {}, frozenset())


ANNOTATIONS = {
    "en": {
        FOX: ("fox", ("animal", "sly")),
        CAT: ("cat", ("animal", "pet")),
        LIONESS: ("lion", ("animal",)),
        BABY: ("baby", ("child",)),
    },
    "es": {
        FOX: ("zorro", ("animal", "bestia")),
        CAT: ("gato", ("minino", "bestia")),
        LIONESS: ("león", ("bestia",)),
        BABY: ("bebé", ("crío",)),
    },
    "ru": {
        FOX: ("морда лисицы", ("лиса", "зверь")),
        CAT: ("кошка: боком", ("кот", "зверь")),
        LIONESS: ("лев", ("зверь", "лев")),
        BABY: ("младенец", ()),
    },
}


def test_names_and_keywords_become_rows() -> None:
    rows = {row.english: row for row in cldr_rows(ANNOTATIONS, _base())}
    assert rows["fox"] == Row("fox", ("zorro", "~animal"), ("морда лисицы", "~лиса"))
    assert rows["cat"] == Row("cat", ("gato", "~minino"), ("~кот",))  # no phrase with a colon
    assert rows["animal"] == Row("animal", ("~bestia",), ("~зверь",))  # said of the same three
    assert rows["baby"] == Row("baby", ("~bebé",), ("~младенец",))  # keywords only of things


def test_tables_are_read_as_they_are_written() -> None:
    rows = cldr_rows(ANNOTATIONS, _base())
    text = table_text(rows, "Where from.\nWhich licence.")
    assert text.startswith("# Where from.\n# Which licence.\n")
    assert list(table_rows(text)) == [row for row in rows if row.es or row.ru]


def test_annotations_are_read_from_packages(tmp_path: Path) -> None:
    told = {"annotations": {"annotations": {"\u2764\ufe0f": {"tts": ["man’s heart"], "default": ["love"]}, "x": {}}}}
    package = tmp_path / "cldr.tgz"
    with tarfile.open(package, "w:gz") as tar:
        content = json.dumps(told).encode()
        member = tarfile.TarInfo("package/annotations/en/annotations.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    assert read_annotations([package], "en") == {"\u2764": ("man's heart", ("love",))}
    assert read_annotations([package], "ru") == {}
