"""Labels as people write them, and what cannot be labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from lienzo.core.errors import BadInput
from lienzo.tasks.labels import Label, background, folded, parse_labels, read_labels


def names(line: str) -> list[str]:
    return [label.name for label in parse_labels(line)]


def test_a_line_of_labels() -> None:
    assert names("cat,dog, human ") == ["cat", "dog", "human"]
    assert names('"red, ripe apple", "say ""hi""",猫') == ["red, ripe apple", 'say "hi"', "猫"]
    assert names("cat\x1b[31m,two\n words,\u202edog") == ["cat[31m", "two words", "dog"]
    assert parse_labels("cat")[0].texts == ("cat",)
    assert background("rubbish, a texture") == Label("unknown", ("rubbish", "a texture"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "no labels"),
        ("cat,,dog", "is empty"),
        ("cat, ,dog", "is empty"),
        ("cat,\x1b,dog", "is empty"),
        ("cat,dog,Cat", "'Cat' is there twice"),
        ("street car,street_car", "is there twice"),
        ('cat,"dog', "quote that is not closed"),
        ("x" * 2000, "longer than 1000 letters"),
        (",".join(map(str, range(10_001))), "more than 10000"),
    ],
)
def test_what_is_no_label(line: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        parse_labels(line)
    assert len(str(caught.value)) < 200


def test_a_file_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text('\ufeff# mine\ncat\n\nnight: a dark sky, "stars, many"\n"colon: here"\n"a: b": c\nred, ripe\n')
    assert read_labels(path) == (
        Label("cat", ("cat",)),
        Label("night", ("a dark sky", "stars, many")),
        Label("colon: here", ("colon: here",)),
        Label("a: b", ("c",)),
        Label("red, ripe", ("red, ripe",)),
    )
    for text, words in (
        ("cat:", "no description"),
        ('"a" b', "no colon"),
        ("cat: x,,y", "is empty"),
        ("#", "no labels"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=words):
            read_labels(path)
    with pytest.raises(BadInput, match=r"no file 'none\.txt' with labels"):
        read_labels(Path("none.txt"))


def test_folders_are_compared_without_case_and_marks() -> None:
    assert folded("Street_Car") == folded("street-car ") == "street car"
