"""A corpus made small enough to send along: permissive pictures only, 64 px whole, a share of the 256 px ones.

What is written is a corpus like any other: `load_corpus` reads it, with fewer pictures at 256 px. Each picture is
kept as lossless WebP or PNG, whichever is smaller, and each shard is compressed (`tar.xz` in content; readers look at
the content, not at the name), for the headers of a tar are as large as its smallest pictures.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Progress, Table
from lienzo.core.files import replacing
from lienzo.data.art_sources import SOURCES
from lienzo.data.corpus import Corpus, load_corpus
from lienzo.data.credits import credits_page
from lienzo.data.packages import file_hash
from lienzo.data.records import Record
from lienzo.data.shards import write_shard
from lienzo.data.splits import SPLITS

SMALL, LARGE = 64, 256
SHARD_ITEMS = 2000
ITEM_BYTES = 200  # what a record and the headers of its two members cost at most after compression, measured 70 to 90
FRAME_BYTES = 2000  # what a compressed shard costs besides its items
TEST_SHARE = 8  # at 256 px one picture in so many is of the test split


@dataclass
class Pack:
    """A pack in the making: where it goes, its limit in bytes, what was written."""

    folder: Path
    limit: int
    used: int = 0
    items: Counter[int] = field(default_factory=Counter)
    shards: dict[str, str] = field(default_factory=dict)

    def write(self, size: int, name: str, items: list[tuple[str, bytes]]) -> None:
        """One compressed shard of (member, content) pairs."""
        path = self.folder / "shards" / str(size) / name
        write_shard(path, items)
        with replacing(path) as work:
            work.write_bytes(lzma.compress(path.read_bytes(), preset=6))
        self.used += path.stat().st_size
        self.items[size] += len(items) // 2
        self.shards[path.relative_to(self.folder).as_posix()] = file_hash(path)


def pack_corpus(corpus: Path, folder: Path, megabytes: float) -> Iterator[Event]:
    """Write the pack of a corpus; the same corpus, limit and Pillow make the same bytes.

    Args:
        corpus: what `lienzo data build art` wrote.
        folder: gets ``shards``, ``CREDITS.md`` and ``manifest.json``; must be new or an older pack.
        megabytes: limit of the whole in millions of bytes. The 64 px pictures must fit; 256 px ones fill the rest,
            the sources in turn, one in eight of them from the test split.

    Yields:
        Progress by picture, and a Table of what was packed.

    Raises:
        BadInput: no corpus is there, `folder` holds something else, or the 64 px pictures alone are too large.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "manifest.json").is_file():
        raise BadInput(f"{folder} holds other files; give a new folder or that of an older pack.")
    small = load_corpus(corpus, SMALL, permissive=True)
    if not len(small):
        raise BadInput(f"{corpus} holds no picture under a permissive licence.")
    (folder / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "shards", ignore_errors=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    pack = Pack(folder, int(megabytes * 1_000_000))
    sources = list(dict.fromkeys(record.source for record in small.records))
    with replacing(folder / "CREDITS.md") as work:
        work.write_text(credits_page(small.records, [name for name in sources if name in SOURCES]), encoding="utf-8")
    pack.used += (folder / "CREDITS.md").stat().st_size + 20_000  # the manifest comes last
    yield from _whole(pack, small)
    yield from _filling(pack, corpus)
    manifest = _manifest(pack, corpus, small.records, sources)
    with replacing(folder / "manifest.json") as work:
        work.write_text(json.dumps(manifest, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    counts = tuple((f"{side} px", str(count)) for side, count in sorted(pack.items.items()))
    yield Table("Pack", ("what", "count"), (*counts, ("megabytes", f"{size / 1e6:.2f}")))


def smallest_file(image: Image.Image) -> tuple[str, bytes]:
    """The picture as lossless WebP or PNG, whichever is smaller: suffix and content."""
    files = []
    for suffix, options in (("webp", {"lossless": True, "method": 4, "quality": 80}), ("png", {"optimize": True})):
        packed = io.BytesIO()
        image.save(packed, suffix, **options)
        files.append((len(packed.getvalue()), suffix, packed.getvalue()))
    _, suffix, content = min(files)
    return suffix, content


def _members(record: Record, image: Image.Image) -> list[tuple[str, bytes]]:
    suffix, content = smallest_file(image)
    text = json.dumps(record.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
    return [(f"{record.key}.json", text), (f"{record.key}.{suffix}", content)]


def _whole(pack: Pack, small: Corpus) -> Iterator[Event]:
    """All 64 px pictures, a few shards a split."""
    begun = time.monotonic()
    for split in SPLITS:
        rows = [i for i, record in enumerate(small.records) if record.split == split]
        for part, start in enumerate(range(0, len(rows), SHARD_ITEMS)):
            members: list[tuple[str, bytes]] = []
            for row in rows[start : start + SHARD_ITEMS]:
                members += _members(small.records[row], Image.fromarray(small.images[row]))
            pack.write(SMALL, f"{split}-{part:05d}.tar", members)
            yield Progress("64 px", pack.items[SMALL], len(small), time.monotonic() - begun, "picture")
    if pack.used > pack.limit:
        raise BadInput(
            f"The {len(small)} pictures of 64 pixels alone take {pack.used / 1e6:.1f} MB; allow at least so much."
        )


def _filling(pack: Pack, corpus: Path) -> Iterator[Event]:
    """As many 256 px pictures as fit, the sources in turn."""
    large = load_corpus(corpus, LARGE, permissive=True)
    rows = {split: _in_turn(large.records, split) for split in ("train", "test")}
    chosen: dict[str, list[tuple[str, bytes]]] = {"train": [], "test": []}
    room, begun, done = pack.limit - pack.used - 2 * FRAME_BYTES, time.monotonic(), 0
    total = sum(map(len, rows.values()))
    while any(rows.values()):
        wanted = "test" if rows["test"] and (done % TEST_SHARE == 0 or not rows["train"]) else "train"
        row = rows[wanted].pop(0)
        members = _members(large.records[row], Image.fromarray(large.images[row]))
        room -= len(members[1][1]) + ITEM_BYTES
        if room < 0:
            break
        chosen[wanted] += members
        done += 1
        yield Progress("256 px", done, total, time.monotonic() - begun, "picture")
    for split, members in chosen.items():
        if members:
            pack.write(LARGE, f"{split}-00000.tar", members)


def _in_turn(records: Sequence[Record], split: str) -> list[int]:
    """Rows of a split, one of each source after another, each source in an order that only its keys decide."""
    places: dict[str, list[int]] = defaultdict(list)
    for i in sorted(range(len(records)), key=lambda i: hashlib.sha256(records[i].key.encode()).digest()):
        if records[i].split == split:
            places[records[i].source].append(i)
    found = [places[name] for name in sorted(places)]
    return [rows[turn] for turn in range(max(map(len, found), default=0)) for rows in found if turn < len(rows)]


def _manifest(pack: Pack, corpus: Path, records: Sequence[Record], sources: Sequence[str]) -> dict[str, object]:
    """The corpus's manifest, with the counts of the pack; `build` is a name of its own, so caches never mix."""
    before = json.loads((corpus / "manifest.json").read_text(encoding="utf-8"))
    build = hashlib.sha256(json.dumps([before["build"], pack.shards]).encode()).hexdigest()[:12]
    kept = {name: value for name, value in before.get("sources", {}).items() if name in sources}
    return {
        "format": "lienzo-corpus",
        "version": 1,
        "build": build,
        "packed_from": before["build"],
        "pictures": len(records),
        "pictures_256": pack.items[LARGE],
        "concepts": len({record.concept for record in records}),
        "splits": Counter(record.split for record in records),
        "permissive": len(records),
        "withheld_pairs": sum(record.withheld_pair for record in records),
        "sources": kept,
        "shards": pack.shards,
    }
