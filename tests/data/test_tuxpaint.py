import pytest

from lienzo.data.tuxpaint import stamp_captions, stamp_name, tuxpaint_drawings

TEXT = "A duck. It swims.\nes.utf8=Un pato. Nada.\nde.utf8=Eine Ente.\nru.utf8=Утка.\n"


def test_captions_are_line_one_and_two_languages() -> None:
    assert stamp_captions(TEXT) == {"en": "A duck. It swims.", "es": "Un pato. Nada.", "ru": "Утка."}
    assert stamp_captions("\ufeffA cat.") == {"en": "A cat."}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A ripe, red tomato!", "ripe, red tomato"),
        ("A shamrock is a symbol of St Patrick’s Day.", "shamrock"),
        ("An inukshuk (or inuksuk).", "inukshuk"),
        ("Saturn—the sixth planet.", "saturn"),
        ("Remember to flush the toilet!", "toilet"),
    ],
)
def test_the_name_is_what_is_shown(sentence: str, expected: str) -> None:
    assert stamp_name(sentence, "toilet2") == expected


def test_stamps_are_pictures_with_a_text_and_not_symbols(tmp_path, make_deb) -> None:
    root = "usr/share/tuxpaint/stamps/"
    files = {
        f"{root}animals/birds/duck.png": b"png",
        f"{root}animals/birds/duck.txt": TEXT.encode(),
        f"{root}animals/birds/duck_desc.ogg": b"quack",
        f"{root}animals/goose.svg": b"<svg/>",
        f"{root}symbols/a.png": b"png",
        f"{root}symbols/a.txt": b"The letter A.",
    }
    (duck,) = tuxpaint_drawings(make_deb(tmp_path / "t.deb", files))
    assert (duck.slug, duck.concept, duck.kind, duck.style) == ("animals-birds-duck", "duck", "raster", "stamp")
    assert duck.captions == {
        "en": ["duck", "duck. It swims", "birds", "animals"],
        "es": ["un pato", "un pato. Nada"],
        "ru": ["утка"],
    }
