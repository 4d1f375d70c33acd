"""Files to write are checked before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from lienzo.core.errors import BadInput
from lienzo.tasks.outputs import check_output, spare_inputs


@pytest.mark.parametrize(
    ("path", "picture", "words"),
    [
        ("no/a.png", True, "its folder does not exist"),
        (".", False, "a folder has this name"),
        ("a.gif", True, r"the name for --sheet ends in \.png"),
    ],
)
def test_what_cannot_be_written(path: str, picture: bool, words: str) -> None:
    with pytest.raises(BadInput, match=f"(?i){words}"):
        check_output("sheet", Path(path), picture=picture)


def test_what_can_be_written() -> None:
    check_output("sheet", None, picture=True)
    check_output("sheet", Path("a.PNG"), picture=True)
    check_output("csv", Path("a.csv"))
    assert not list(Path().iterdir())


def test_an_input_is_not_written_over() -> None:
    Path("a.png").write_bytes(b"precious")
    Path("link.png").symlink_to("a.png")
    spare_inputs("sheet", Path("new.png"), [Path("a.png")])
    spare_inputs("sheet", None, [Path("a.png")])
    for name in ("a.png", "./a.png", "link.png"):
        with pytest.raises(BadInput, match="is one of the pictures"):
            spare_inputs("sheet", Path(name), [Path("gone.png"), Path("a.png")])
