"""A pack is a corpus: what is read from it equals what was put in, within its limit, and it is the same every time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress, Table
from lienzo.data.corpus import load_corpus
from lienzo.data.packages import file_hash
from lienzo.data.packing import pack_corpus, smallest_file
from lienzo.data.records import Record
from lienzo.data.shards import read_shards, write_shard
from lienzo.tasks.data_pack import PackCorpus, run

SPLITS = ("train", "train", "val", "test")


def picture(number: int, size: int) -> np.ndarray:
    """White with a noisy patch: a few kilobytes at 256 px."""
    rng = np.random.default_rng([number, size])
    image = np.full((size, size, 3), 255, np.uint8)
    image[8:40, 8:40] = rng.integers(0, 256, (32, 32, 3))
    return image


def png(image: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "PNG")
    return packed.getvalue()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve permissive pictures of two sources and four that may not be passed on, at 64 and 256 px."""
    folder = tmp_path / "art"
    for size in (64, 256):
        items: list[tuple[str, bytes]] = []
        for number in range(16):
            source = ("noto", "twemoji", "noto", "wesnoth")[number % 4]
            record = Record(
                key=f"{source}_{number:02d}", concept=f"thing {number}", name="thing", captions={"en": ["thing"]},
                style="flat", source=source, licence="MIT" if source != "wesnoth" else "GPL-2.0-only",
                permissive=source != "wesnoth", author="A. Ñandú", split=SPLITS[number // 4],
            )  # fmt: skip
            items.append((f"{record.key}.json", json.dumps(record.to_json()).encode()))
            items.append((f"{record.key}.png", png(picture(number, size))))
        write_shard(folder / "shards" / str(size) / "all-00000.tar", items)
    (folder / "manifest.json").write_text(json.dumps({"build": "abc", "sources": {"noto": {"title": "Noto"}}}))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_is_read_from_a_pack_is_what_was_put_in(corpus: Path, tmp_path: Path) -> None:
    events = list(pack_corpus(corpus, tmp_path / "pack", 1))
    (table,) = [event for event in events if isinstance(event, Table)]
    assert table.rows[0] == ("64 px", "12")
    assert table.rows[1] == ("256 px", "9")  # without the val split, which no upscaler uses
    assert [event.done for event in events if isinstance(event, Progress)][-1] == 9
    before, after = load_corpus(corpus, 64, permissive=True), load_corpus(tmp_path / "pack", 64)
    assert after.records == before.records
    assert np.array_equal(after.images, before.images)
    large, whole = load_corpus(tmp_path / "pack", 256), load_corpus(corpus, 256)
    row_of = {record.key: row for row, record in enumerate(whole.records)}
    assert {record.split for record in large.records} == {"train", "test"}
    assert np.array_equal(large.images, whole.images[[row_of[record.key] for record in large.records]])


def test_the_manifest_is_true(corpus: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    list(pack_corpus(corpus, pack, 1))
    manifest = json.loads((pack / "manifest.json").read_text())
    assert manifest["packed_from"] == "abc" != manifest["build"]
    assert manifest["pictures"] == manifest["permissive"] == 12
    assert manifest["sources"] == {"noto": {"title": "Noto"}}
    assert {name: file_hash(pack / name) for name in manifest["shards"]} == manifest["shards"]
    credits = (pack / "CREDITS.md").read_text(encoding="utf-8")
    assert "A. Ñandú" in credits
    assert "Wesnoth" not in credits


def test_the_same_corpus_makes_the_same_pack(corpus: Path, tmp_path: Path) -> None:
    list(pack_corpus(corpus, tmp_path / "one", 1))
    list(pack_corpus(corpus, tmp_path / "two", 1))
    first = files(tmp_path / "one")
    assert first == files(tmp_path / "two")
    load_corpus(tmp_path / "two", 64)
    list(pack_corpus(corpus, tmp_path / "two", 1))
    assert files(tmp_path / "two") == first, "an older pack and its cache are replaced"


def test_a_pack_keeps_its_limit_and_uses_it(corpus: Path, tmp_path: Path) -> None:
    counts = []
    for kilobytes in (75, 85, 140):
        pack = tmp_path / str(kilobytes)
        list(pack_corpus(corpus, pack, kilobytes / 1000))
        assert sum(map(len, files(pack).values())) <= kilobytes * 1000
        found = load_corpus(pack, 256)
        assert found.records[-1].split == "test"
        counts.append(len(found))
    assert 0 < counts[0] < counts[1] < counts[2] == 9


def test_pictures_are_webp_or_png_and_exact() -> None:
    flat = Image.new("RGB", (64, 64), (250, 10, 10))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for image in (flat, noise, Image.fromarray(picture(0, 64))):
        suffix, content = smallest_file(image)
        back = Image.open(io.BytesIO(content))
        assert back.format == suffix.upper()
        assert np.array_equal(np.asarray(back.convert("RGB")), np.asarray(image))
        assert len(content) <= len(png(np.asarray(image)))


def test_other_readers_of_shards_can_read_a_pack(corpus: Path, tmp_path: Path) -> None:
    list(pack_corpus(corpus, tmp_path / "pack", 1))
    items = list(read_shards(str(tmp_path / "pack" / "shards" / "64" / "test-00000.tar")))
    assert len(items) == 3
    assert all(item["image"][:4] in (b"RIFF", b"\x89PNG") and item["caption"] == "thing" for item in items)


def test_wrong_input_says_so(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"12 pictures of 64 pixels alone take 0\.\d MB"):
        list(pack_corpus(corpus, tmp_path / "pack", 0.03))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(BadInput, match="holds other files"):
        list(pack_corpus(corpus, tmp_path / "mine", 1))
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    with pytest.raises(BadInput, match="holds no finished corpus"):
        list(run(PackCorpus(corpus=tmp_path / "none", out=tmp_path / "out")))
    assert not (tmp_path / "out").exists()
