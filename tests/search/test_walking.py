"""Every file that may be a picture is found once, and nothing else is touched."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hostile_folder import encoded

from lienzo.search.walking import Walk

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs links, pipes and permissions")


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(walk: Walk) -> list[str]:
    return sorted(os.fsdecode(found.path) for found in walk)


def test_by_name_or_by_content(tmp_path: Path) -> None:
    put(tmp_path / "a.PNG")
    put(tmp_path / "b.heic")
    put(tmp_path / "c.txt", b"words")
    for number, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")):
        put(tmp_path / f"{number}.dat", encoded(1, kind))
    # BMP has two letters for a beginning, which many other files have too
    assert names(Walk(tmp_path)) == ["0.dat", "1.dat", "2.dat", "3.dat", "5.dat", "6.dat", "a.PNG", "b.heic"]


def test_stamps_and_notes(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", b"12345")
    put(tmp_path / "b.png")
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    note = put(tmp_path / "a.txt", b"a fox")
    first, second = Walk(tmp_path)
    assert first[:3] == (b"a.png", 5, 1_234_567_890_123_456_789)
    assert first.note > 0
    assert second.note == 0
    os.utime(note, ns=(0, 5))
    assert next(iter(Walk(tmp_path))).note != first.note


def test_rules(tmp_path: Path) -> None:
    for name in ("a.png", "b.gif", ".c.png", ".d/e.png", "private/f.png", "g/private/h.png", "g/i.png"):
        put(tmp_path / name)
    assert names(Walk(tmp_path)) == ["a.png", "b.gif", "g/i.png", "g/private/h.png", "private/f.png"]
    assert names(Walk(tmp_path, hidden=True))[:2] == [".c.png", ".d/e.png"]
    walk = Walk(tmp_path, exclude=("*.gif", "private"))
    assert names(walk) == ["a.png", "g/i.png"]
    assert walk.passes_over(b"x/y.gif")
    assert walk.passes_over(b"private/z.png")
    assert walk.passes_over(b".d/e.png")
    assert not walk.passes_over(b"a.png")
    assert names(Walk(tmp_path, exclude=("g/private",))) == ["a.png", "b.gif", "g/i.png", "private/f.png"]


@posix
def test_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / "real" / "a.png")
    put(tmp_path / "outside" / "b.png")
    (root / "again").symlink_to("real")  # would come before the real folder by name
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "real" / "up").symlink_to("../..")
    (root / "real" / "self").symlink_to(".")
    (root / "all").symlink_to("/")
    (root / "dangling.png").symlink_to("nothing")
    (root / "circle.png").symlink_to("circle.png")
    (root / "file.png").symlink_to("real/a.png")
    walk = Walk(root)
    assert names(walk) == ["file.png", "out/b.png", "real/a.png"]
    assert b"again/" in walk.repeated
    assert walk.passes_over(b"again/a.png")


@posix
def test_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.png").mkdir()
    put(tmp_path / "folder.png" / "a.png")
    assert names(Walk(tmp_path)) == ["folder.png/a.png"]


def test_other_roots_are_not_entered(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "inner" / "b.png")
    assert names(Walk(tmp_path, others=[tmp_path / "inner"])) == ["a.png"]
    assert names(Walk(tmp_path / "inner", others=[tmp_path])) == ["b.png"]


def test_unreadable_folders_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "shut" / "a.png")
    put(tmp_path / "b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    walk = Walk(tmp_path)
    assert names(walk) == ["b.png"]
    assert walk.unreadable == {b"shut/": "Permission denied"}
    assert walk.is_unsure(b"shut/a.png")
    assert not walk.is_unsure(b"b.png")


@posix
@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"two\nlines.png", "🦊.png".encode()])
def test_names_are_kept_as_bytes(tmp_path: Path, name: bytes) -> None:
    try:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    except OSError:
        pytest.skip("the file system refuses this name")
    assert [found.path for found in Walk(tmp_path)] == [name]
