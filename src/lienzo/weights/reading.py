"""The only place that opens weight files. A file is data: nothing in it runs, whatever it asks for.

Read are safetensors, archives of `torch.save` (.pt, .pth, .ckpt, .tar), TorchScript archives (their code is not
opened), files of torch before 1.6, and bare pickles such as NVIDIA's. Numbers stay on the disk until they are used:
tensors lie over a private mapping of the file, and writing into one does not change the file.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.core.text import printable
from lienzo.weights.archives import Archive
from lienzo.weights.headers import header_length, parse_header, read_safetensors
from lienzo.weights.inert import Budget, Fault, Storage
from lienzo.weights.pickles import load
from lienzo.weights.tensors import DTYPES, build, storage_dtype
from lienzo.weights.trees import choose, extras, groups, unwrapped

MAX_FILE = 256 << 30  # bytes
MAX_PICKLE = 256 << 20  # bytes of an archive's data.pkl, which holds structure only
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class Weights:
    """What a weight file holds.

    Attributes:
        tensors: Tensors by name, on the CPU, in the file's number types, over the file's own bytes.
        metadata: The texts of a safetensors header; empty for other formats.
        format: ``safetensors``, ``torch-zip``, ``torchscript``, ``torch-legacy`` or ``pickle``.
        extras: Plain values beside the weights, ready for JSON: a Lightning ``global_step``, saved settings.
        inner: Where in the file the tensors were, e.g. ``state_dict`` or ``params_ema``; '' is the root.
    """

    tensors: dict[str, Tensor] = field(repr=False)
    metadata: dict[str, str]
    format: str
    extras: dict[str, Any]
    inner: str = ""


def read_weights(path: str | Path, *, inner: str | None = None) -> Weights:
    """Read a weight file of any supported format without running anything in it.

    Args:
        path: The file.
        inner: Which part to take from a checkpoint of several, e.g. ``params`` or ``generator``. By default the
            largest group of tensors, moving averages preferred (see `trees.choose`). A prefix ``module.`` or
            ``_orig_mod.`` before all names is removed.

    Raises:
        BadWeights: one sentence with the file's fault: missing, cut off, broken, hostile, or without tensors.
    """
    path = Path(path)
    try:
        return _read(_mapped(path), inner)
    except Fault as fault:
        raise BadWeights(f"The weight file '{printable(path.name, 100)}' {fault}.") from fault
    except (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, MemoryError, struct.error) as error:
        # The checks above should name every fault; whatever slips through is still the file's, not a crash.
        raise BadWeights(f"The weight file '{printable(path.name, 100)}' is broken.") from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """The texts in the header of a safetensors file; its tensors are not touched.

    Raises:
        BadWeights: the file is missing, or is no sound safetensors file.
    """
    path = Path(path)
    try:
        data = _mapped(path)
        if len(data) > 8 and data[8] != ord("{"):
            raise Fault("is no safetensors file, so it has no description")
        length = header_length(bytes(data[:8]), len(data))
        return parse_header(bytes(data[8 : 8 + length]))[1]
    except Fault as fault:
        raise BadWeights(f"The weight file '{printable(path.name, 100)}' {fault}.") from fault


def _mapped(path: Path) -> memoryview:
    """The bytes of a plain file, mapped privately."""
    try:
        with open(path, "rb", opener=_open_plain) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE:
                raise Fault(f"is larger than {MAX_FILE >> 30} GiB")
            if size == 0:
                raise Fault("is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except FileNotFoundError as error:
        raise Fault("does not exist") from error
    except IsADirectoryError as error:
        raise Fault("is a folder; give the file in it") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Fault(f"cannot be opened: {reason}") from error


def _open_plain(name: str, flags: int) -> int:
    """Open without waiting, and refuse what is not a plain file: a pipe would block for ever."""
    descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise Fault("is a folder; give the file in it" if stat.S_ISDIR(mode) else "is not a plain file")
    return descriptor


def _read(data: memoryview, inner: str | None) -> Weights:
    start = bytes(data[:64])
    if start.startswith(_ZIP):
        root, kind = _read_archive(data, Budget())
    elif start[8:9] == b"{":
        tensors, metadata = read_safetensors(data)
        return Weights(unwrapped(_under(tensors, inner)), metadata, "safetensors", {}, inner or "")
    elif start[:1] == b"\x80":
        root, kind = _read_pickle(data, Budget())
    else:
        raise Fault(_unknown(start))
    group = choose(groups(root), inner)
    tensors = build(unwrapped(group.views), len(data))
    return Weights(tensors, {}, kind, extras(root), group.place)


def _under(tensors: dict[str, Tensor], inner: str | None) -> dict[str, Tensor]:
    """The tensors whose names begin with `inner` and a dot, without it; a safetensors file has no other parts."""
    if not inner:
        return tensors
    found = {name[len(inner) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{inner}.")}
    if not found:
        raise Fault(f"holds no part '{printable(inner, 40)}'")
    return found


def _unknown(start: bytes) -> str:
    """A guess at what a file is that is no weight file."""
    if start.lstrip().lower().startswith((b"<!doc", b"<html", b"<?xml")):
        return "is a web page, so its download failed"
    if start.startswith(b"version https://git-lfs"):
        return "is only a pointer of Git LFS; fetch the file itself with 'git lfs pull'"
    if start.startswith((b"\x89HDF", b"\x08\x01", b"GGUF")):
        return "is of a format that Lienzo does not read (read are safetensors and files of torch)"
    return "is not a weight file that Lienzo knows, or is broken (read are safetensors and files of torch)"


def _read_archive(data: memoryview, budget: Budget) -> tuple[Any, str]:
    """The structure of an archive of torch.save or torch.jit.save: only its data.pkl and its numbers are read."""
    archive = Archive(data)
    budget.spend(len(archive.entries))
    roots = [name[: -len("data.pkl")] for name in archive.entries if name.count("/") == 1 and name[-9:] == "/data.pkl"]
    if "data.pkl" in archive.entries:
        roots.append("")
    if len(roots) != 1:
        raise Fault("is an archive, but not one of torch.save (it has no single data.pkl)")
    (root,) = roots
    order = f"{root}byteorder"
    if order in archive.entries and bytes(archive.read(order, 16)) != b"little":
        raise Fault("was written on a big-endian machine, which Lienzo does not read")
    storages: dict[tuple[str, str, int], Storage] = {}

    def persistent(identifier: Any) -> Any:
        dtype, key, count, _ = _storage_id(identifier)
        if (key, dtype, count) not in storages:
            part = archive.read(f"{root}data/{key}")
            storages[key, dtype, count] = Storage(dtype, count, _numbers(part, dtype, count))
        return storages[key, dtype, count]

    script = f"{root}constants.pkl" in archive.entries
    structure = archive.read(f"{root}data.pkl", MAX_PICKLE)
    value, _ = load(structure, budget=budget, persistent=persistent, load_bytes=_nested(budget))
    return value, "torchscript" if script else "torch-zip"


def _read_pickle(data: memoryview, budget: Budget) -> tuple[Any, str]:
    """A file of torch before 1.6, or a bare pickle whose tensors lie in its byte strings."""
    legacy = _Legacy(data, budget)
    first, position = legacy.load(0)
    if first != _LEGACY_MAGIC:
        return first, "pickle"
    protocol, position = legacy.load(position)
    if protocol != _LEGACY_PROTOCOL:
        raise Fault("is of an unknown version of torch.save")
    system, position = legacy.load(position)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise Fault("was written on a big-endian machine, which Lienzo does not read")
    value, position = legacy.load(position)
    keys, position = legacy.load(position)
    legacy.fill(keys, position)
    return value, "torch-legacy"


class _Legacy:
    """The pickles of one old file, one after the other, and the storages that follow them."""

    def __init__(self, data: memoryview, budget: Budget):
        self.data = data
        self.budget = budget
        self.storages: dict[str, Storage] = {}
        self.views: dict[tuple[str, int, int], tuple[str, int, Storage]] = {}

    def load(self, position: int) -> tuple[Any, int]:
        return load(
            self.data,
            position,
            budget=self.budget,
            persistent=self.persistent,
            load_bytes=_nested(self.budget),
        )

    def persistent(self, identifier: Any) -> Any:
        if isinstance(identifier, tuple) and len(identifier) > 1 and identifier[0] in ("module", b"module"):
            return identifier[1]  # a class with its source, which is not looked at
        dtype, key, count, view = _storage_id(identifier)
        whole = self.storages.setdefault(key, Storage(dtype, count))
        if whole.dtype != dtype or whole.count != count:
            raise Fault("describes one storage in two ways")
        if view is None:
            return whole
        if not isinstance(view, tuple) or len(view) != 3 or any(type(part) is not int for part in view[1:]):
            raise Fault("holds a broken view of a storage")
        _, offset, length = view
        if offset < 0 or length < 0 or offset + length > count:
            raise Fault("holds a view that reaches beyond its storage")
        place = (key, offset, length)
        return self.views.setdefault(place, (key, offset, Storage(dtype, length)))[2]

    def fill(self, keys: Any, position: int) -> None:
        """Give each storage its bytes: for each key in turn, a length and that many numbers."""
        if not isinstance(keys, list):
            raise Fault("has no list of its storages")
        for key in keys:
            storage = self.storages.get(key) if isinstance(key, str) else None
            if storage is None or storage.data is not None:
                raise Fault("lists a storage that it does not use")
            if position + 8 > len(self.data):
                raise Fault("is cut off inside its numbers")
            (count,) = struct.unpack_from("<q", self.data, position)
            if count != storage.count:
                raise Fault("states two lengths for one storage")
            storage.data = _numbers(self.data[position + 8 :], storage.dtype, count)
            position += 8 + len(storage.data)
        for key, offset, view in self.views.values():
            whole = self.storages[key]
            width = DTYPES[whole.dtype].itemsize
            if whole.data is not None:
                view.data = whole.data[offset * width : (offset + view.count) * width]


def _nested(budget: Budget) -> Callable[[Any], Any]:
    """Reader of a saved file inside a pickle's byte string; its value takes the place of the call."""

    def load_bytes(data: Any) -> Any:
        view = memoryview(data)
        if bytes(view[:4]).startswith(_ZIP):
            return _read_archive(view, budget)[0]
        return _read_pickle(view, budget)[0]

    return load_bytes


def _storage_id(identifier: Any) -> tuple[str, str, int, Any]:
    """Number type, key, count and optional view of ``("storage", type, key, location, count[, view])``."""
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6):
        raise Fault("refers to something outside itself that is not a storage")
    word, kind, key, _, count = identifier[:5]
    if word not in ("storage", b"storage"):
        raise Fault("refers to something outside itself that is not a storage")
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or len(key) > 100 or type(count) is not int or not 0 <= count < 2**48:
        raise Fault("describes a storage that makes no sense")
    return storage_dtype(kind), key, count, identifier[5] if len(identifier) == 6 else None


def _numbers(part: memoryview, dtype: str, count: int) -> memoryview:
    size = count * DTYPES[dtype].itemsize
    if len(part) < size:
        raise Fault("is cut off inside its numbers")
    return part[:size]
