import pytest

from lienzo.data.words import clean_name, concept_of, family_of, is_word, singular, singulars, slug, unique


@pytest.mark.parametrize(
    ("text", "sentence", "expected"),
    [
        (" A ripe, red tomato! ", True, "ripe, red tomato"),
        ("An Adelaide Rosella.", True, "Adelaide Rosella"),
        ("Santa Claus", False, "Santa Claus"),
        ("Un pato.", True, "un pato"),
        ("T-Rex", True, "T-Rex"),
        ("A “Fuji” apple.", True, "Fuji apple"),
        ("twelve o’clock", False, "twelve o'clock"),
        ("Утка.", True, "утка"),
    ],
)
def test_clean_name(text: str, sentence: bool, expected: str) -> None:
    assert clean_name(text, sentence) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("cherries", "cherry"), ("boxes", "box"), ("cats", "cat"), ("glass", "glass"), ("bus", "bus"), ("jeans", "jeans")],
)
def test_singular(word: str, expected: str) -> None:
    assert singular(word) == expected


def test_singulars_are_guesses() -> None:
    for plural, one in (("shoes", "shoe"), ("buses", "bus"), ("cookies", "cookie"), ("mice", "mouse")):
        assert one in singulars(plural)
    assert not list(singulars("glass"))


def test_one_thing_has_one_concept_in_every_spelling() -> None:
    assert {concept_of(name) for name in ("Racing car", "racing-cars", "a racing car", "racing car 2")} == {
        "racing-car"
    }
    assert concept_of("bottle three") == "bottle"
    assert concept_of("three") == "three"


def test_variants_of_people_hours_and_directions_are_one_family() -> None:
    assert family_of("man-farmer") == family_of("woman-farmer") == family_of("farmer") == "farmer"
    assert family_of("family-man-man-boy") == family_of("family-man-woman-boy") == "family"
    assert family_of("one-oclock") == family_of("six-thirty") == "clock-face"
    assert family_of("left-facing-fist") == family_of("right-facing-fist")
    assert family_of("man") == family_of("girl") == "person"
    assert family_of("cat") != family_of("dog")


def test_slugs_and_tags() -> None:
    assert slug("Ñandú & Co's!") == "nandu-cos"
    assert slug("утка") == "x"
    assert [tag for tag in ("143", "<3", "+1", "car", "утка", "24 hours", "tv") if is_word(tag)] == ["car", "утка"]
    assert unique(["Car", "", "car ", "bus"]) == ["Car", "bus"]
