import json

import pytest

from lienzo.data.emoji import emoji_drawings, is_skin_variant, openmoji_signs
from lienzo.data.emojibase import read_emojibase


@pytest.fixture
def base(tmp_path, make_npm, emojibase_files):
    return read_emojibase(make_npm(tmp_path / "emojibase.tgz", emojibase_files))


def test_emoji_are_found_by_hexcode_with_or_without_selector_by_name_and_by_short_code(base) -> None:
    assert base.find("1f3ce", ()).name == "racing car"
    assert base.find("1F3CE-FE0F", ()).name == "racing car"
    assert base.find(None, ("no", "RacingCar")).name == "racing car"
    assert base.find(None, ("dog-head",)).name == "dog face"
    assert base.find(None, ("elephant",)) is None


def test_captions_are_names_and_words_in_three_languages(base) -> None:
    dog = base.by_hexcode["1F436"]
    assert dog.captions == {
        "en": ["dog face", "tag en"],
        "es": ["cara de perro", "tag es"],
        "ru": ["морда собаки", "tag ru"],
    }
    assert base.translations("Dog face") == {"es": ["cara de perro"], "ru": ["морда собаки"]}
    assert base.translations("dog head") == {}


def test_skin_variants_are_told_by_tone_by_suffix_and_not_by_a_suffix_alone(base) -> None:
    keys = frozenset({"waving-hand", "man-farmer", "police-car", "police-car-light", "lamp"})
    variants = ["waving-hand-light", "waving-hand-medium-dark", "waving-hand-light-skin-tone", "waving-hand-dark-light"]
    assert all(is_skin_variant(name, keys, base) for name in variants)
    assert not any(is_skin_variant(name, keys, base) for name in ("police-car-light", "lamp-light-x", "garden-light"))


def drawn(tmp_path, make_npm, make_icon_set, base, names, characters=None, **options):
    files = make_icon_set({name: f"<path id='{name}'/>" for name in names})
    files["chars.json"] = json.dumps(characters or {}).encode()
    return list(emoji_drawings("set", "flat", make_npm(tmp_path / "set.tgz", files), base, **options))


def test_flags_letters_and_skin_variants_are_dropped(tmp_path, make_npm, make_icon_set, base) -> None:
    names = [
        "dog-face",
        "waving-hand",
        "waving-hand-dark",
        "hand-b",
        "flag-spain",
        "a-button-blood-type",
        "letter-q",
        "7",
    ]
    characters = {"1f44b-1f3fb": "hand-b", "1f1ea-1f1f8": "flag-spain", "1f170": "a-button-blood-type"}
    found = drawn(tmp_path, make_npm, make_icon_set, base, names, characters)
    assert [drawing.slug for drawing in found] == ["dog-face", "waving-hand"]


def test_a_drawing_carries_concept_style_licence_and_captions(tmp_path, make_npm, make_icon_set, base) -> None:
    (drawing,) = drawn(tmp_path, make_npm, make_icon_set, base, ["racing-car"])
    assert (drawing.concept, drawing.style, drawing.licence, drawing.author) == (
        "racing-car",
        "flat",
        "MIT",
        "A. Painter",
    )
    assert drawing.captions["es"][0] == "coche de carreras"
    assert drawing.data.startswith(b"<svg")


def test_unknown_names_are_kept_unless_only_named_ones_are_asked_for(tmp_path, make_npm, make_icon_set, base) -> None:
    names = ["lighthouse", "racing-car"]
    assert len(drawn(tmp_path, make_npm, make_icon_set, base, names)) == 2
    (only,) = drawn(tmp_path, make_npm, make_icon_set, base, names, named_only=True)
    assert only.slug == "racing-car"


def test_openmojis_brands_and_flags_are_signs_and_its_objects_are_not(tmp_path, make_npm) -> None:
    entries = [
        {"hexcode": "E040", "group": "extras-openmoji", "subgroups": "brand"},
        {"hexcode": "E0A0", "group": "extras-openmoji", "subgroups": "gardening"},
        {"hexcode": "1F436", "group": "animals-nature", "subgroups": "animal-mammal"},
    ]
    path = make_npm(tmp_path / "o.tgz", {"data/openmoji.json": json.dumps(entries).encode()})
    assert openmoji_signs(path) == {"E040"}
