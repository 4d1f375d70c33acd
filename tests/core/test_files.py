"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing


def test_the_name_changes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def interrupted(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError):
        interrupted(path, KeyError())
    with pytest.raises(BadInput, match=r"'a\.txt' cannot be written: No space left"):
        interrupted(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def race() -> None:
        with replacing(path, exist_ok=False) as temporary:
            temporary.write_text("mine")
            path.write_text("theirs")

    with pytest.raises(BadInput, match="exists already"):
        race()
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    with replacing(tmp_path / "a.txt", exist_ok=False) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_names_in_sentences_are_printable(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught, replacing(tmp_path / "absent" / "\x1b[2Ja"):
        pass
    assert str(caught.value) == "'[2Ja' cannot be written: its folder does not exist."
