"""Put drawn sources together: exact duplicates out, look-alikes into one split, shards, manifest, credits, sheet."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lienzo.core.events import Event, Note, Progress, Table
from lienzo.core.files import replacing
from lienzo.data.art_sources import EMOJI_SOURCES, SOURCES
from lienzo.data.contact_sheet import contact_sheet
from lienzo.data.credits import credits_page
from lienzo.data.near_duplicates import alike_concepts
from lienzo.data.packages import PACKAGES, file_hash
from lienzo.data.pictures import SIZES, decode_picture
from lienzo.data.records import Record
from lienzo.data.rendering import read_rendered
from lienzo.data.shards import write_shard
from lienzo.data.splits import SPLITS, group_concepts, split_of, withheld_pairs

THUMB = 64
SHARD_ITEMS = 2000
SHEET_ITEMS = 96


def assemble(directory: Path, rendered: Mapping[str, Path], build: str) -> Iterator[Event]:
    """Write the corpus from the staged tars of its sources; the manifest comes last and makes it complete."""
    start = time.monotonic()
    records, thumbs, repeats = _unique_records(rendered)
    yield Note(f"{repeats} exact duplicates are set aside; {len(records)} pictures stay.")
    alike = alike_concepts(thumbs, [record.concept for record in records])
    groups = group_concepts((record.concept for record in records), alike)
    sizes = sorted((len(members) for members in groups.members().values()), reverse=True)
    yield Note(
        f"{len(groups.parent)} concepts in {len(sizes)} groups of look-alikes; the largest hold "
        f"{', '.join(map(str, sizes[:8]))}."
    )
    splits = {concept: split_of(groups.root(concept)) for concept in groups.parent}
    final = with_splits(records, splits)
    (directory / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(directory / "shards", ignore_errors=True)
    shutil.rmtree(directory / "cache", ignore_errors=True)
    for number, (name, path) in enumerate(rendered.items()):
        yield Progress("shards", number, len(rendered), time.monotonic() - start, "source")
        _write_shards(directory, path, name, {record.key: record for record in final if record.source == name})
    yield Progress("shards", len(rendered), len(rendered), time.monotonic() - start, "source")
    _write_sheet(directory, final, thumbs)
    with replacing(directory / "CREDITS.md") as work:
        work.write_text(credits_page(final, list(rendered)), encoding="utf-8")
    manifest = {"format": "lienzo-corpus", "version": 1, "build": build, "largest_groups": sizes[:20]}
    manifest |= _summary(directory, final, list(rendered))
    with replacing(directory / "manifest.json") as work:
        work.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
    yield _table(final, list(rendered))


def _unique_records(rendered: Mapping[str, Path]) -> tuple[list[Record], np.ndarray, int]:
    """Records and 64 px pictures of all staged items, without those whose pixels were there before."""
    records: list[Record] = []
    thumbs: list[np.ndarray] = []
    seen: set[bytes] = set()
    repeats = 0
    for path in rendered.values():
        for record, pictures in read_rendered(path):
            thumb = decode_picture(pictures[THUMB], THUMB)
            digest = hashlib.sha256(thumb.tobytes()).digest()
            if digest in seen:
                repeats += 1
                continue
            seen.add(digest)
            records.append(record)
            thumbs.append(thumb)
    return records, np.stack(thumbs), repeats


def with_splits(records: Sequence[Record], splits: Mapping[str, str]) -> list[Record]:
    """The records with the split of their concept, and marked where their (concept, style) pair is withheld."""
    withheld = withheld_pairs(records, EMOJI_SOURCES)
    return [
        dataclasses.replace(
            record,
            split=splits[record.concept],
            withheld_pair=record.source in EMOJI_SOURCES and (record.concept, record.style) in withheld,
        )
        for record in records
    ]


def _write_shards(directory: Path, rendered: Path, name: str, final: Mapping[str, Record]) -> None:
    """All sizes of one source: shards/SIZE/SOURCE-SPLIT-00000.tar, at most 2000 items each."""
    waiting: dict[tuple[int, str], list[tuple[str, bytes]]] = defaultdict(list)
    written: Counter[tuple[int, str]] = Counter()

    def flush(place: tuple[int, str]) -> None:
        size, split = place
        path = directory / "shards" / str(size) / f"{name}-{split}-{written[place]:05d}.tar"
        write_shard(path, waiting.pop(place))
        written[place] += 1

    for drawn, pictures in read_rendered(rendered):
        if drawn.key not in final:
            continue
        record = final[drawn.key]
        text = json.dumps(record.to_json(), ensure_ascii=False).encode()
        for size in SIZES:
            place = (size, record.split)
            waiting[place] += [(f"{record.key}.json", text), (f"{record.key}.png", pictures[size])]
            if len(waiting[place]) >= 2 * SHARD_ITEMS:
                flush(place)
    for place in sorted(waiting):
        flush(place)


def _write_sheet(directory: Path, records: Sequence[Record], thumbs: np.ndarray) -> None:
    """Pictures of every source in turn, chosen by hash so that the sheet is the same each time."""
    places: dict[str, list[int]] = {record.source: [] for record in records}
    for i in sorted(range(len(records)), key=lambda i: hashlib.sha256(records[i].key.encode()).digest()):
        places[records[i].source].append(i)
    turns = max(len(found) for found in places.values())
    chosen = [found[turn] for turn in range(turns) for found in places.values() if turn < len(found)][:SHEET_ITEMS]
    chosen.sort(key=lambda i: list(places).index(records[i].source))
    sheet = contact_sheet([thumbs[i] for i in chosen], [(records[i].name, records[i].style) for i in chosen])
    with replacing(directory / "contact_sheet.png") as work:
        sheet.save(work)


def _summary(directory: Path, records: Sequence[Record], sources: Sequence[str]) -> dict[str, object]:
    """What the manifest counts: pictures and splits, all and by source, the packages and the hashes of the shards."""
    used = {package for name in sources for package in SOURCES[name].packages}
    return {
        "pictures": len(records),
        "concepts": len({record.concept for record in records}),
        "splits": Counter(record.split for record in records),
        "permissive": sum(record.permissive for record in records),
        "withheld_pairs": sum(record.withheld_pair for record in records),
        "sources": {
            name: {
                "title": SOURCES[name].title,
                "style": sorted({record.style for record in records if record.source == name}),
                "licence": sorted({record.licence for record in records if record.source == name}),
                "splits": Counter(record.split for record in records if record.source == name),
            }
            for name in sources
        },
        "packages": {
            name: {"name": package.name, "version": package.version, "sha256": package.sha256}
            for name, package in PACKAGES.items()
            if name in used
        },
        "shards": {
            path.relative_to(directory).as_posix(): file_hash(path)
            for path in sorted((directory / "shards").rglob("*.tar"))
        },
    }


def _table(records: Sequence[Record], sources: Sequence[str]) -> Table:
    rows = []
    for name in sources:
        chosen = [record for record in records if record.source == name]
        styles = ", ".join(sorted({record.style for record in chosen}))
        licences = ", ".join(sorted({record.licence for record in chosen}))
        rows.append((name, styles, licences, *_counts(chosen)))
    rows.append(("all", "", "", *_counts(records)))
    return Table("Corpus", ("source", "style", "licence", *SPLITS, "all"), tuple(rows))


def _counts(records: Sequence[Record]) -> tuple[str, ...]:
    counts = Counter(record.split for record in records)
    return (*(str(counts[split]) for split in SPLITS), str(len(records)))
