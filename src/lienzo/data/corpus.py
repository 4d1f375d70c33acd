"""The built corpus in memory: one array of pictures, memory-mapped, and a record for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.data.pictures import SIZES, decode_picture
from lienzo.data.records import Record
from lienzo.data.shards import PICTURES, read_members
from lienzo.data.splits import SPLITS


@dataclass(frozen=True)
class Corpus:
    """Pictures (N, size, size, 3) uint8 and their N records, in the same order."""

    images: np.ndarray
    records: list[Record]

    def __len__(self) -> int:
        return len(self.records)


def load_corpus(directory: Path | str, size: int, split: str | None = None, permissive: bool | None = None) -> Corpus:
    """Load pictures of one size. The first call for a size writes an array beside the shards; later ones map it.

    The array lies on disk in the order split, then permissive first; so ``split`` with or without
    ``permissive=True`` is a view of the mapped file, read as it is used, and other choices are copied.

    Args:
        directory: what `lienzo data build art` wrote.
        size: 64, 128 or 256 pixels.
        split: "train", "val", "test", or all.
        permissive: True for pictures under a permissive licence only, False for the others only, None for both.

    Raises:
        BadInput: there is no corpus of that size there, or it is incomplete.
    """
    directory = Path(directory)
    if size not in SIZES:
        raise BadInput(f"The corpus has pictures of {', '.join(map(str, SIZES))} pixels, not {size}.")
    if split is not None and split not in SPLITS:
        raise BadInput(f"There is no split '{split}'; choose one of {', '.join(SPLITS)}.")
    images, records = _mapped(directory, size)
    chosen = [
        i
        for i, record in enumerate(records)
        if (split is None or record.split == split) and (permissive is None or record.permissive == permissive)
    ]
    return Corpus(_rows(images, chosen), [records[i] for i in chosen])


def _rows(images: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    if not chosen:
        return images[:0]
    if chosen[-1] - chosen[0] + 1 == len(chosen):
        return images[chosen[0] : chosen[-1] + 1]
    return images[np.asarray(chosen)]


def _mapped(directory: Path, size: int) -> tuple[np.ndarray, list[Record]]:
    """The cached array and records, written first when they are missing or of another build."""
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        raise BadInput(f"{directory} holds no finished corpus; build it with: lienzo data build art {directory}")
    build = json.loads(manifest.read_text(encoding="utf-8"))["build"]
    folder = directory / "cache"
    array, index = folder / f"{build}-{size}.npy", folder / f"{build}-{size}.jsonl"
    if not (array.is_file() and index.is_file()):
        _write_cache(directory, size, array, index)
    with index.open(encoding="utf-8") as lines:
        records = [Record.from_json(json.loads(line)) for line in lines]
    images = np.load(array, mmap_mode="r")
    if images.shape != (len(records), size, size, 3):
        raise BadInput(f"The cache {array} does not fit the corpus; delete the folder {folder} and load again.")
    return images, records


def _items(directory: Path, size: int) -> Iterator[tuple[Record, bytes]]:
    shards = sorted((directory / "shards" / str(size)).glob("*.tar"))
    if not shards:
        raise BadInput(f"{directory} has no shards of {size} pixels; build it again.")
    for shard in shards:
        record = None
        for _, extension, content in read_members(shard):
            if extension == "json":
                record = Record.from_json(json.loads(content))
            elif record is not None and extension in PICTURES:
                yield record, content
                record = None


def _write_cache(directory: Path, size: int, array: Path, index: Path) -> None:
    array.parent.mkdir(parents=True, exist_ok=True)
    places = [(record, number) for number, (record, _) in enumerate(_items(directory, size))]
    places.sort(key=lambda place: (SPLITS.index(place[0].split), not place[0].permissive, place[0].key))
    row_of = {number: row for row, (_, number) in enumerate(places)}
    lines = "".join(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record, _ in places)
    with replacing(index) as work:
        work.write_text(lines, encoding="utf-8")
    with replacing(array) as work:
        images = np.lib.format.open_memmap(work, mode="w+", dtype=np.uint8, shape=(len(places), size, size, 3))
        for number, (_, content) in enumerate(_items(directory, size)):
            images[row_of[number]] = decode_picture(content, size)
        images.flush()
        del images
