"""Shards: tar files in the webdataset layout, KEY.png and KEY.json side by side, written whole and read with care."""

from __future__ import annotations

import io
import itertools
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing

MAX_MEMBER = 64 * 2**20
MAX_SHARDS = 100_000
PICTURES = ("png", "webp", "jpg", "jpeg")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LIST = re.compile(r"\{([^{}]*,[^{}]*)\}")


def write_shard(path: Path, items: Iterable[tuple[str, bytes]]) -> None:
    """Write (member name, content) pairs as a tar that depends on nothing but them; complete or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as work, tarfile.open(work, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in items:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def expand(spec: str) -> list[Path]:
    """The shard files of a spec: ``a-{00000..00012}.tar``, ``{noto,twemoji}-train-00000.tar``, joined by ``::``.

    Raises:
        BadInput: a range runs backwards or a spec names too many shards or none.
    """
    found: list[Path] = []
    for part in filter(None, spec.split("::")):
        found.extend(Path(path) for path in itertools.islice(_expand(part), MAX_SHARDS + 1))
    if not found or len(found) > MAX_SHARDS:
        raise BadInput(f"The shard list {spec[:80]!r} names {len(found) or 'no'} files; 1 to {MAX_SHARDS} are read.")
    return found


def _expand(spec: str) -> Iterator[str]:
    match = _RANGE.search(spec)
    if match:
        first, last = int(match[1]), int(match[2])
        if last < first or last - first > MAX_SHARDS:
            raise BadInput(f"The range {match[0]} runs backwards or is too long; write it as {{00000..00012}}.")
        names: Iterable[str] = (str(i).zfill(len(match[1])) for i in range(first, last + 1))
    else:
        match = _LIST.search(spec)
        if match is None:
            yield spec
            return
        names = match[1].split(",")
    for name in names:
        yield from _expand(spec[: match.start()] + name + spec[match.end() :])


def read_members(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """The regular files of a tar as (key, extension, content); the key is the path up to the first dot of its name.

    Links, devices, hidden files and paths that would leave the folder are passed over: nothing is written anywhere.

    Raises:
        BadInput: not a tar, cut off, or a member is larger than 64 MiB.
    """
    try:
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                folder, _, name = member.name.replace("\\", "/").rpartition("/")
                key, dot, extension = name.partition(".")
                unsafe = member.name.startswith("/") or ".." in folder.split("/")
                if not member.isreg() or unsafe or not key or not dot:
                    continue
                if member.size > MAX_MEMBER:
                    raise BadInput(f"{path.name} holds a file of {member.size} bytes; {MAX_MEMBER} are allowed.")
                content = tar.extractfile(member)
                if content is not None:
                    yield (f"{folder}/{key}" if folder else key), extension.lower(), content.read()
    except FileNotFoundError as error:
        raise BadInput(f"There is no shard {path}.") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(f"The shard {path} cannot be read ({error}).") from error


def read_shards(
    spec: str, decode: Callable[[bytes], Any] | None = None, on_bad: Callable[[str, Exception], None] | None = None
) -> Iterator[dict[str, Any]]:
    """The items of one or more shards, in file order.

    Each item has ``key``; ``image`` (what `decode` makes of the picture's bytes; the bytes without it), when it has
    a picture; ``json`` parsed, ``caption`` (``.txt``, or the JSON's ``caption`` or ``name``) and ``label`` (``.cls``).

    Args:
        spec: a path with brace ranges and lists, several joined by ``::`` (see `expand`).
        decode: turns the bytes of a picture into a picture.
        on_bad: called with key and error for an item that cannot be read, which is then passed over; without it
            the error is raised.

    Raises:
        BadInput: a shard is missing, broken or hostile; an item cannot be read.
    """
    for path in expand(spec):
        for key, members in itertools.groupby(read_members(path), key=lambda member: member[0]):
            parts = {extension: content for _, extension, content in members}
            try:
                item = _item(key, parts, decode)
            except (BadInput, ValueError) as error:
                if on_bad is None:
                    raise BadInput(f"The item '{key}' of {path.name} cannot be read: {error}") from error
                on_bad(key, error)
                continue
            yield item


def _item(key: str, parts: dict[str, bytes], decode: Callable[[bytes], Any] | None) -> dict[str, Any]:
    item: dict[str, Any] = {"key": key}
    for extension in PICTURES:
        if extension in parts:
            item["image"] = decode(parts[extension]) if decode else parts[extension]
            break
    if "json" in parts:
        item["json"] = json.loads(parts["json"])
        if isinstance(item["json"], dict):
            caption = item["json"].get("caption", item["json"].get("name"))
            if isinstance(caption, str):
                item["caption"] = caption
    if "txt" in parts:
        item["caption"] = parts["txt"].decode("utf-8", "replace").strip()
    if "cls" in parts:
        item["label"] = int(parts["cls"])
    return item
