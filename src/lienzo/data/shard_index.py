"""Pictures in webdataset shards by row: where each lies in its tar file, and what stands beside it."""

from __future__ import annotations

import itertools
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.text import printable
from lienzo.data.captions_beside import lines_of, texts_in
from lienzo.data.listing import Listing, count_of
from lienzo.data.shards import MAX_MEMBER, PICTURES, expand

_TEXTS = ("txt", "json", "cls")
_MAX_TEXT = 2**20
_MAX_UNPACKED = 2**31
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


@dataclass
class _Item:
    """A picture's place in a shard, or the picture where the shard is compressed, and the small files of its key."""

    name: str
    shard: Path
    offset: int = 0
    length: int = 0
    content: bytes = b""
    texts: dict[str, bytes] = field(default_factory=dict)


def pictures_in_shards(spec: str) -> Listing:
    """The pictures of one or more tar files, in file order (see `shards.expand` for the spec).

    A picture is read from its place in the file. Compressed shards have no such places: their pictures are held in
    memory, up to 2 GiB.

    Captions are the lines of ``KEY.txt``; without one, ``caption``, ``captions`` or ``name`` in ``KEY.json``.
    Labels are the numbers in ``KEY.cls``, used when every picture has one.

    Raises:
        BadInput: a shard is missing, broken or hostile, there are no pictures, or too many compressed ones.
    """
    return pictures_in_files(expand(spec), f"'{printable(spec, 200)}'")


def pictures_in_files(shards: Iterable[Path], title: str) -> Listing:
    """As `pictures_in_shards`, of given files."""
    items: list[_Item] = []
    unpacked = 0
    silent: list[str] = []
    twice: list[str] = []
    stamps: list[tuple[int, int]] = []
    for shard in shards:
        found: dict[str, _Item] = {}
        for key, item in _items(shard):
            if not item.length:
                silent.append(item.name)
            elif key in found:
                twice.append(item.name)
            else:
                found[key] = item
        items.extend(found.values())
        unpacked += sum(len(item.content) for item in found.values())
        if unpacked > _MAX_UNPACKED:
            raise BadInput(f"{title} are compressed shards of more than {_MAX_UNPACKED >> 30} GiB; uncompress them.")
        changed = shard.stat().st_mtime_ns
        stamps.extend((item.length, changed + item.offset) for item in found.values())
    if not items:
        raise BadInput(f"{title} holds no pictures (KEY.png, .jpg or .webp in a tar file).")
    problems = [f"{count_of(silent, 'item', 'has', 'have')} no picture."] if silent else []
    problems += [f"{count_of(twice, 'key', 'is', 'are')} twice in one shard; the first is used."] if twice else []
    captions = [_captions(item, problems) for item in items]
    labels = [_label(item, problems) for item in items]
    known = [label for label in labels if label is not None]
    if known and len(known) < len(items):
        problems.append(f"{len(items) - len(known)} of {len(items)} pictures have no class, so none is used.")
    labelled = len(known) == len(items)

    def read(row: int) -> bytes:
        return _content(items[row])

    return Listing(
        title=title,
        names=tuple(item.name for item in items),
        read=read,
        stamps=tuple(stamps),
        captions=tuple(captions) if any(captions) else (),
        labels=np.array(known, np.int64) if labelled else None,
        label_names=tuple(map(str, range(max(known) + 1))) if labelled else (),
        problems=tuple(problems),
    )


def _items(shard: Path) -> Iterator[tuple[str, _Item]]:
    for key, members in itertools.groupby(_members(shard), key=lambda member: member[0]):
        item = _Item(printable(f"{shard.name}/{key}", 1_000), shard)
        places: dict[str, tuple[int, int, bytes]] = {}
        for _, extension, member, content in members:
            if extension in PICTURES:
                places[extension] = (member.offset_data, member.size, content)
            else:
                item.texts[extension] = content
        for extension in PICTURES:
            if extension in places:
                item.offset, item.length, item.content = places[extension]
                break
        yield key, item


def _members(shard: Path) -> Iterator[tuple[str, str, tarfile.TarInfo, bytes]]:
    """(key, extension, member, content) of the regular files that matter, with the care of `shards.read_members`.

    The content of a picture is left out where its place in the file is enough.
    """
    try:
        with shard.open("rb") as file:
            compressed = file.read(6).startswith(_COMPRESSED)
        with tarfile.open(shard, "r:*") as tar:
            for member in tar:
                folder, _, name = member.name.replace("\\", "/").rpartition("/")
                key, _, extension = name.partition(".")
                unsafe = member.name.startswith("/") or ".." in folder.split("/")
                if not member.isreg() or member.issparse() or unsafe or not key:
                    continue
                extension = extension.lower()
                is_picture = extension in PICTURES
                if is_picture and member.size > MAX_MEMBER:
                    raise BadInput(f"{shard.name} holds a file of {member.size} bytes; {MAX_MEMBER} are allowed.")
                if is_picture or (extension in _TEXTS and member.size <= _MAX_TEXT):
                    content = _extracted(tar, member) if compressed or not is_picture else b""
                    yield f"{folder}/{key}" if folder else key, extension, member, content
    except FileNotFoundError as error:
        raise BadInput(f"There is no shard '{printable(str(shard), 200)}'.") from error
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise BadInput(f"The shard '{printable(str(shard), 200)}' cannot be read ({str(error)[:100]}).") from error


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _content(item: _Item) -> bytes:
    if item.content:
        return item.content
    try:
        with item.shard.open("rb") as file:
            file.seek(item.offset)
            content = file.read(item.length)
    except OSError as error:
        raise BadPicture(f"The shard cannot be opened: {error.strerror}.") from error
    if len(content) != item.length:
        raise BadPicture("The shard ends before the picture does.")
    return content


def _captions(item: _Item, problems: list[str]) -> tuple[str, ...]:
    if "txt" in item.texts:
        return tuple(lines_of(item.texts["txt"]))
    if "json" not in item.texts:
        return ()
    try:
        values: Any = json.loads(item.texts["json"])
    except (ValueError, RecursionError):
        problems.append(f"{item.name}: its .json is not JSON, so it has no caption.")
        return ()
    if not isinstance(values, dict):
        return ()
    said = [text for column in ("caption", "captions", "text") for text in texts_in(values.get(column))]
    return tuple(dict.fromkeys(said or texts_in(values.get("name"))))


def _label(item: _Item, problems: list[str]) -> int | None:
    if "cls" not in item.texts:
        return None
    try:
        label = int(item.texts["cls"][:20])
    except ValueError:
        label = -1
    if 0 <= label < 1_000_000:
        return label
    problems.append(f"{item.name}: its .cls is not a class number.")
    return None
