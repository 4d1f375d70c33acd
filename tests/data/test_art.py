import json
from pathlib import Path

import numpy as np
import pytest

from lienzo.core.errors import BadInput
from lienzo.core.events import Note, Progress, Table
from lienzo.data.art import build_art
from lienzo.data.corpus import load_corpus
from lienzo.data.packages import PACKAGES, Package, file_hash
from lienzo.data.pictures import decode_picture
from lienzo.data.shards import read_shards

pytest.importorskip("resvg_py")
CAR = '<path fill="{}" d="M1 6h8v2H1zM3 3h4l1 3H2z"/>'
DOG = '<circle cx="5" cy="5" r="4" fill="{}"/><rect x="3" y="3" width="1" height="2"/>'
FARMER = '<rect x="3" y="1" width="{}" height="8" fill="#080"/><rect x="1" y="7" width="3" height="1" fill="#333"/>'


@pytest.fixture
def packages(tmp_path, monkeypatch, make_npm, make_deb, make_icon_set, make_png, emojibase_files) -> Path:
    """A folder with two emoji sets and a set of stamps, pinned in the table as the real ones are."""
    folder = tmp_path / "packages"
    folder.mkdir()
    stamps = "usr/share/tuxpaint/stamps/animals/"
    sets = {
        "emojibase": emojibase_files,
        "noto": make_icon_set(
            {
                "racing-car": CAR.format("#d00"),
                "dog-face": DOG.format("#b80"),
                "dog-face-light": DOG.format("#fd8"),
                "man-farmer": FARMER.format(4),
                "woman-farmer": FARMER.format(5),
                "flag-spain": CAR.format("#fc0"),
                "blank": "<g/>",
            },
            {"motor-car": {"parent": "racing-car"}},
        ),
        "twemoji": make_icon_set({"racing-car": CAR.format("#00d"), "dog-face": DOG.format("#b80")}),
        "tuxpaint": {f"{stamps}dog.png": make_png(80, 50, (90, 60, 20, 255)), f"{stamps}dog.txt": b"A dog face."},
    }
    for name, files in sets.items():
        pinned = PACKAGES[name]
        path = (make_deb if pinned.client == "apt-get" else make_npm)(folder / pinned.file_name, files)
        monkeypatch.setitem(PACKAGES, name, Package(pinned.client, pinned.name, pinned.version, file_hash(path)))
    return folder


SOURCES = ("noto", "twemoji", "tuxpaint")


def build(directory: Path, packages: Path, sources=SOURCES, workers: int = 1) -> list:
    return list(build_art(directory, sources, packages, fetch=False, workers=workers))


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_build_writes_shards_manifest_credits_and_sheet(tmp_path, packages) -> None:
    events = build(tmp_path / "art", packages)
    (table,) = [event for event in events if isinstance(event, Table)]
    assert [row[0] for row in table.rows] == ["noto", "twemoji", "tuxpaint", "all"]
    assert table.rows[-1][-1] == "6"  # noto 4, twemoji 1 (its dog is noto's to the pixel), tuxpaint 1
    assert any(isinstance(event, Progress) for event in events)
    assert any(isinstance(event, Note) and "blank" in event.text for event in events)
    manifest = json.loads((tmp_path / "art" / "manifest.json").read_text())
    assert manifest["pictures"] == 6
    assert manifest["permissive"] == 5
    assert manifest["packages"]["noto"]["sha256"] == PACKAGES["noto"].sha256
    assert all(file_hash(tmp_path / "art" / name) == digest for name, digest in manifest["shards"].items())
    credits = (tmp_path / "art" / "CREDITS.md").read_text()
    assert "Noto Emoji" in credits
    assert "GPL-2.0-only" in credits
    assert (tmp_path / "art" / "contact_sheet.png").stat().st_size > 500
    assert not (tmp_path / "art" / "rendered").exists()


def test_the_three_sizes_hold_the_same_records_and_no_skins_flags_or_blanks(tmp_path, packages) -> None:
    build(tmp_path / "art", packages)
    by_size = {}
    for size in (64, 128, 256):
        shards = sorted((tmp_path / "art" / "shards" / str(size)).glob("*.tar"))
        spec = "::".join(map(str, shards))
        items = list(read_shards(spec, decode=lambda data, size=size: decode_picture(data, size)))
        assert all(item["image"].shape == (size, size, 3) for item in items)
        by_size[size] = {item["key"]: item["json"] for item in items}
    assert by_size[64] == by_size[128] == by_size[256]
    assert sorted(by_size[64]) == [
        "noto_dog-face",
        "noto_man-farmer",
        "noto_racing-car",
        "noto_woman-farmer",
        "tuxpaint_animals-dog",
        "twemoji_racing-car",
    ]
    car = by_size[64]["noto_racing-car"]
    assert car["captions"]["en"][:2] == ["racing car", "motor car"]
    assert car["captions"]["ru"][0] == "гоночная машина"
    assert car["concept"] == by_size[64]["twemoji_racing-car"]["concept"]
    assert by_size[64]["noto_man-farmer"]["split"] == by_size[64]["noto_woman-farmer"]["split"]


def test_building_twice_gives_the_same_bytes_whatever_the_number_of_processes(tmp_path, packages) -> None:
    build(tmp_path / "one", packages)
    build(tmp_path / "two", packages, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_finished_build_is_left_alone_and_a_killed_one_goes_on(tmp_path, packages) -> None:
    build(tmp_path / "whole", packages)
    running = build_art(tmp_path / "art", SOURCES, packages, False, 1)
    for event in running:
        if isinstance(event, Progress) and event.stage == "tuxpaint":
            break
    running.close()
    events = build(tmp_path / "art", packages)
    assert [event.text for event in events[:2]] == ["noto was drawn before.", "twemoji was drawn before."]
    assert contents(tmp_path / "art") == contents(tmp_path / "whole")
    (note,) = build(tmp_path / "art", packages)
    assert "complete" in note.text


def test_a_source_that_cannot_be_had_is_named_and_taken_up_later(tmp_path, packages) -> None:
    hidden = packages / PACKAGES["twemoji"].file_name
    content = hidden.read_bytes()
    hidden.unlink()
    events = build(tmp_path / "art", packages)
    (warning,) = [event for event in events if isinstance(event, Note) and event.level == "warning"]
    assert warning.text.startswith("twemoji is left out.")
    assert len(load_corpus(tmp_path / "art", 64)) == 5
    hidden.write_bytes(content)
    build(tmp_path / "art", packages)
    assert len(load_corpus(tmp_path / "art", 64)) == 6


def test_nothing_to_be_had_an_unknown_source_and_a_forged_package_are_refused(tmp_path, packages) -> None:
    with pytest.raises(BadInput, match="There is no source 'cats'"):
        build(tmp_path / "art", packages, ("cats",))
    with pytest.raises(BadInput, match="None of the packages"):
        build(tmp_path / "art", tmp_path / "empty", ("noto",))
    (packages / PACKAGES["noto"].file_name).write_bytes(b"forged")
    with pytest.raises(BadInput, match="SHA-256"):
        build(tmp_path / "art", packages)


def test_load_corpus_maps_and_selects(tmp_path, packages) -> None:
    directory = tmp_path / "art"
    build(directory, packages)
    everything = load_corpus(directory, 64)
    assert everything.images.shape == (6, 64, 64, 3)
    assert isinstance(everything.images, np.memmap)
    dog = next(i for i, record in enumerate(everything.records) if record.key == "tuxpaint_animals-dog")
    assert everything.images[dog][32, 32].tolist() == [90, 60, 20]
    assert [record.source for record in load_corpus(directory, 64, permissive=False).records] == ["tuxpaint"]
    parts = [load_corpus(directory, 64, split) for split in ("train", "val", "test")]
    assert sum(len(part) for part in parts) == 6
    for part, split in zip(parts, ("train", "val", "test"), strict=True):
        assert {record.split for record in part.records} <= {split}
        assert len(part.images) == len(part.records)
    free = load_corpus(directory, 64, "train", True)
    assert all(record.permissive for record in free.records)
    assert len(list((directory / "cache").glob("*.npy"))) == 1


def test_load_corpus_says_what_is_wrong(tmp_path, packages) -> None:
    with pytest.raises(BadInput, match="no finished corpus"):
        load_corpus(tmp_path, 64)
    build(tmp_path / "art", packages, ("twemoji",))
    with pytest.raises(BadInput, match="not 65"):
        load_corpus(tmp_path / "art", 65)
    with pytest.raises(BadInput, match="no split 'dev'"):
        load_corpus(tmp_path / "art", 64, "dev")
