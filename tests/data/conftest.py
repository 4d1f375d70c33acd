"""Packages made by the tests themselves: npm tarballs and Debian packages of a few bytes."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

MakePackage = Callable[[Path, dict[str, bytes]], Path]


def pack_tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def make_npm() -> MakePackage:
    """Write an npm tarball: files below `package/`, gzip."""

    def make(path: Path, files: dict[str, bytes]) -> Path:
        with tarfile.open(path, "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def make_deb() -> MakePackage:
    """Write a Debian package: an `ar` archive whose data part is a tar.xz with `./` in front of each path."""

    def make(path: Path, files: dict[str, bytes]) -> Path:
        data = lzma.compress(pack_tar({f"./{name}": content for name, content in files.items()}), preset=0)
        archive = b"!<arch>\n"
        for name, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"x"), ("data.tar.xz", data)):
            header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
            archive += header.encode() + content + b"\n" * (len(content) % 2)
        path.write_bytes(archive)
        return path

    return make


@pytest.fixture
def emojibase_files() -> dict[str, bytes]:
    """An `emojibase-data` of seven emoji."""
    labels = {
        "1F436": ("dog face", "cara de perro", "морда собаки", 3, 34),
        "1F3CE-FE0F": ("racing car", "coche de carreras", "гоночная машина", 5, 54),
        "1F44B": ("waving hand", "mano saludando", "машет рукой", 1, 16),
        "1F468-200D-1F33E": ("man farmer", "agricultor", "мужчина-фермер", 1, 25),
        "1F469-200D-1F33E": ("woman farmer", "agricultora", "женщина-фермер", 1, 25),
        "1F6A8": ("police car light", "luces de policía", "мигалка", 5, 54),
        "1F1EA-1F1F8": ("flag: Spain", "bandera: España", "флаг: Испания", 9, 98),
        "1F170": ("A button (blood type)", "grupo sanguíneo A", "группа крови A", 8, 95),
    }
    skin = {"1F44B": [{"hexcode": "1F44B-1F3FB", "label": "waving hand: light skin tone"}]}
    files: dict[str, bytes] = {}
    for number, language in enumerate(("en", "es", "ru")):
        entries = [
            {
                "hexcode": hexcode,
                "label": row[number],
                "tags": ["143", "<3", f"tag {language}"],
                "group": row[3],
                "subgroup": row[4],
                "skins": skin.get(hexcode, []),
            }
            for hexcode, row in labels.items()
        ]
        files[f"{language}/data.json"] = json.dumps(entries).encode()
    groups = {"1": "people-body", "3": "animals-nature", "5": "travel-places", "8": "symbols", "9": "flags"}
    subgroups = {
        "16": "hand",
        "25": "person-role",
        "34": "animal",
        "54": "ground",
        "95": "alphanum",
        "98": "country-flag",
    }
    files["meta/groups.json"] = json.dumps({"groups": groups, "subgroups": subgroups}).encode()
    files["en/shortcodes/github.json"] = json.dumps({"1F436": "dog_head"}).encode()
    return files


def icon_set(
    icons: dict[str, str], aliases: dict[str, dict[str, object]] | None = None, **more: object
) -> dict[str, bytes]:
    data = {"icons": {name: {"body": body} for name, body in icons.items()}, "aliases": aliases or {}}
    info = {"license": {"spdx": "MIT"}, "author": {"name": "A. Painter"}}
    return {
        "icons.json": json.dumps({"width": 10, "height": 10, **data, **more}).encode(),
        "info.json": json.dumps(info).encode(),
    }


@pytest.fixture
def make_icon_set() -> Callable[..., dict[str, bytes]]:
    """The files of an Iconify set: bodies by name, aliases, set-wide values."""
    return icon_set


@pytest.fixture
def make_png() -> Callable[..., bytes]:
    """A PNG of one colour, by size and colour."""

    def make(width: int, height: int, colour: object) -> bytes:
        packed = io.BytesIO()
        Image.new("RGBA", (width, height), colour).save(packed, "PNG")  # type: ignore[arg-type]
        return packed.getvalue()

    return make
