"""The layout of files that clip-retrieval writes and reads, so that vectors can come from it and go to it.

    img_emb/img_emb_0.npy          float16 (N, D), one row a picture
    text_emb/text_emb_0.npy        the same of the captions, where there are vectors of them
    metadata/metadata_0.parquet    image_path, caption and whatever else, the same N rows

and so on with 1, 2, … for every further million. Files that others wrote are read as data: nothing is unpickled, and
sizes are checked before anything is used.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

PART = 1_000_000
FACTS = "lienzo.json"
MAX_DIM = 65_536
_FACTS_LIMIT = 1 << 20
_NAME = re.compile(r"img_emb_(\d{1,9})\.npy")
_HOST = re.sub(r"[^\w.]", "_", socket.gethostname())[:60]
_LEFT = re.compile(re.escape(f".{_HOST}-") + r"(\d{1,10})-[0-9a-f]{16}\.part")
_PATHS = ("image_path", "image", "path", "url", "key")


class Batch(NamedTuple):
    """Some rows of a layout."""

    paths: Sequence[str]
    captions: Sequence[str]
    vectors: np.ndarray  # (N, D), of the pictures
    texts: np.ndarray | None = None  # (N, D), of the captions


class LayoutWriter:
    """Writes a layout; at a clean end of the `with` block the folder is there, whole, otherwise nothing is.

    Args:
        folder: new, or empty.
        dim: length D of the vectors.
        part: rows of a file.
        facts: JSON-able, kept beside the layout in `lienzo.json`: which model the vectors are of.

    Raises:
        BadInput: pyarrow is not installed, or the folder cannot be written or is not empty.
    """

    def __init__(self, folder: Path, dim: int, part: int = PART, facts: dict[str, Any] | None = None):
        self.arrow, self.parquet = _arrow()
        self.folder, self.dim, self.part = Path(folder), dim, part
        self.facts = facts
        self.count = 0
        self.temporary = self.folder.parent / f".{_HOST}-{os.getpid()}-{secrets.token_hex(8)}.part"
        self._open: _Part | None = None
        self._number = 0

    def __enter__(self) -> Self:
        name = printable(self.folder.name, 200)
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise BadInput(f"'{name}' exists already; give a new or an empty folder.")
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder.parent)
            self.temporary.mkdir()
        except OSError as error:
            raise BadInput(f"'{name}' cannot be written: {error.strerror or error}.") from error
        return self

    def add(self, batch: Batch) -> None:
        """Write rows.

        Raises:
            BadInput: they do not fit each other, or the disk refuses.
        """
        vectors = np.asarray(batch.vectors)
        if vectors.shape != (len(batch.paths), self.dim) or len(batch.captions) != len(batch.paths):
            raise BadInput(f"The rows to write do not fit each other, or not vectors of {self.dim} numbers.")
        start = 0
        try:
            while start < len(vectors):
                if self._open is None:
                    self._open = _Part(self, self._number, batch.texts is not None)
                    self._number += 1
                stop = min(start + self.part - self._open.count, len(vectors))
                texts = None if batch.texts is None else batch.texts[start:stop]
                self._open.add(Batch(batch.paths[start:stop], batch.captions[start:stop], vectors[start:stop], texts))
                if self._open.count == self.part:
                    self._open.close()
                    self._open = None
                self.count += stop - start
                start = stop
        except OSError as error:
            raise BadInput(f"'{printable(self.folder.name)}' cannot be written: {error.strerror or error}.") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as problem:
            name = printable(self.folder.name, 200)
            raise BadInput(f"'{name}' cannot be written: {problem.strerror or problem}.") from problem
        finally:
            if self._open is not None:
                with suppress(Exception):
                    self._open.close()
            shutil.rmtree(self.temporary, ignore_errors=True)

    def _finish(self) -> None:
        if self._open is None and self._number == 0:
            self._open = _Part(self, 0, False)
        if self._open is not None:
            self._open.close()
            self._open = None
        if self.facts is not None:
            (self.temporary / FACTS).write_text(json.dumps(self.facts), encoding="utf-8")
        for path in (*self.temporary.rglob("*"), self.temporary):
            if path.is_file() or os.name != "nt":
                _sync(path)
        if self.folder.is_dir():
            self.folder.rmdir()
        os.rename(self.temporary, self.folder)


class _Part:
    """One .npy of pictures, perhaps one of texts, and one .parquet."""

    def __init__(self, writer: LayoutWriter, number: int, texts: bool):
        self.writer = writer
        self.count = 0
        self.schema = writer.arrow.schema([("image_path", writer.arrow.string()), ("caption", writer.arrow.string())])
        names = {"img_emb": True, "text_emb": texts}
        self.files: dict[str, BinaryIO] = {}
        for name in (name for name, wanted in names.items() if wanted):
            (writer.temporary / name).mkdir(exist_ok=True)
            file = (writer.temporary / name / f"{name}_{number}.npy").open("wb")
            self.files[name] = file
            self._head(file)
        (writer.temporary / "metadata").mkdir(exist_ok=True)
        place = writer.temporary / "metadata" / f"metadata_{number}.parquet"
        self.table = writer.parquet.ParquetWriter(place, self.schema)

    def add(self, batch: Batch) -> None:
        for name, values in (("img_emb", batch.vectors), ("text_emb", batch.texts)):
            if (values is not None) != (name in self.files):
                raise BadInput("Some of the rows to write have vectors of texts, and some have none.")
            if values is not None:
                if values.shape != (len(batch.paths), self.writer.dim):
                    raise BadInput("The vectors of texts do not fit those of pictures.")
                self.files[name].write(np.ascontiguousarray(values, "<f2").tobytes())
        texts = [[_text(text) for text in column] for column in (batch.paths, batch.captions)]
        self.table.write_table(self.writer.arrow.table(texts, schema=self.schema))
        self.count += len(batch.paths)

    def close(self) -> None:
        self.table.close()
        for file in self.files.values():
            file.seek(0)
            self._head(file)  # as long as before: numpy leaves room for the number of rows
            file.close()

    def _head(self, file: BinaryIO) -> None:
        head = {"descr": "<f2", "fortran_order": False, "shape": (self.count, self.writer.dim)}
        np.lib.format.write_array_header_1_0(file, head)


@dataclass(frozen=True)
class Layout:
    """A folder in clip-retrieval's layout, checked.

    Attributes:
        folder: where it is.
        dim: length D of the vectors.
        count: rows.
        parts: suffixes of its files with their rows.
        facts: what Lienzo noted when it wrote the folder; empty for others.
    """

    folder: Path
    dim: int
    count: int
    parts: tuple[tuple[str, int], ...]
    facts: dict[str, Any]

    def batches(self, size: int = 8192) -> Iterator[Batch]:
        """All rows as unit vectors, float32; rows whose vector is zero or no number are passed over.

        Raises:
            BadInput: a file cannot be read.
        """
        for suffix, _ in self.parts:
            vectors = _vectors(self.folder / "img_emb" / f"img_emb_{suffix}.npy")
            text_file = self.folder / "text_emb" / f"text_emb_{suffix}.npy"
            texts = _vectors(text_file) if text_file.is_file() else None
            start = 0
            for paths, captions in _metadata(self.folder / "metadata" / f"metadata_{suffix}.parquet", size):
                stop = start + len(paths)
                units, good = _units(vectors[start:stop])
                kept = np.flatnonzero(good).tolist()
                words = None if texts is None else _units(texts[start:stop])[0][kept]
                yield Batch([paths[i] for i in kept], [captions[i] for i in kept], units[kept], words)
                start = stop


def open_layout(folder: Path) -> Layout:
    """Check a folder in clip-retrieval's layout, without reading its vectors.

    Raises:
        BadInput: pyarrow is not installed; the folder has no such files; or they are broken or do not fit each other.
    """
    _, parquet = _arrow()
    found = {}
    if (folder / "img_emb").is_dir():
        found = {m[1]: p for p in (folder / "img_emb").iterdir() if (m := _NAME.fullmatch(p.name)) and p.is_file()}
    if not found:
        raise BadInput(
            f"There are no vectors in '{printable(folder.name, 200)}'; it should have img_emb/img_emb_0.npy."
        )
    parts, dims = [], set()
    for suffix in sorted(found, key=lambda text: (int(text), text)):
        vectors = _vectors(found[suffix])
        place = folder / "metadata" / f"metadata_{suffix}.parquet"
        try:
            with parquet.ParquetFile(place) as file:
                rows = int(file.metadata.num_rows)
                _columns(file, place)
        except (OSError, ValueError) as error:
            raise BadInput(f"'{place.name}', which names the pictures, is missing or broken.") from error
        text_file = folder / "text_emb" / f"text_emb_{suffix}.npy"
        shapes = [vectors.shape, *([_vectors(text_file).shape] if text_file.is_file() else [])]
        if any(shape != (rows, vectors.shape[1]) for shape in shapes):
            raise BadInput(f"The files number {suffix} do not fit each other: {rows} rows, and vectors {shapes}.")
        parts.append((suffix, rows))
        dims.add(vectors.shape[1])
    if len(dims) > 1:
        raise BadInput(f"The vectors have different lengths: {', '.join(map(str, sorted(dims)))}.")
    return Layout(folder, dims.pop(), sum(rows for _, rows in parts), tuple(parts), _facts(folder / FACTS))


def _vectors(path: Path) -> np.ndarray:
    """A mapped matrix of floating-point numbers."""
    name = printable(path.name, 200)
    try:
        # mmap refuses a file that is shorter than its head says, so no memory is taken on its word.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises many kinds about broken heads
        raise BadInput(f"'{name}' is not a whole .npy file of numbers.") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise BadInput(f"'{name}' should hold a matrix of floating-point numbers, one row a picture.")
    if not 1 <= array.shape[1] <= MAX_DIM:
        raise BadInput(f"'{name}' has vectors of {array.shape[1]} numbers; at most {MAX_DIM} are read.")
    return array


def _units(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors, float32 (n, D), and which rows have one."""
    values = np.array(part, np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    good = np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)
    return (values / np.where(good[:, None], lengths, 1)).astype(np.float32), good


def _metadata(path: Path, size: int) -> Iterator[tuple[list[str], list[str]]]:
    _, parquet = _arrow()
    try:
        with parquet.ParquetFile(path) as file:
            paths, caption = _columns(file, path)
            for rows in file.iter_batches(size, columns=[paths, *([caption] if caption else [])]):
                columns = rows.to_pydict()
                names = [_text(value) for value in columns[paths]]
                yield names, [_text(value) for value in columns[caption]] if caption else [""] * len(names)
    except (OSError, ValueError) as error:
        raise BadInput(f"'{printable(path.name, 200)}' is broken.") from error


def _columns(file: Any, path: Path) -> tuple[str, str | None]:
    """The columns with the pictures' paths and, if there is one, their captions."""
    names = file.schema_arrow.names
    column = next((name for name in _PATHS if name in names), None)
    if column is None:
        there = printable(", ".join(names), 200)
        raise BadInput(f"'{printable(path.name, 200)}' has no column image_path; it has {there}.")
    return column, "caption" if "caption" in names else None


def _text(value: object) -> str:
    """Text that every program can read: names that are no Unicode lose what is not."""
    return "" if value is None else str(value).encode("utf-8", "replace").decode("utf-8")


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= _FACTS_LIMIT else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _sweep(folder: Path) -> None:
    """Remove what exports that were killed on this machine left in a folder."""
    if os.name == "nt":  # where asking whether a process lives may end it
        return
    for path in folder.glob(f".{_HOST}-*.part"):
        left = _LEFT.fullmatch(path.name)
        if left and not path.is_symlink() and not _lives(int(left[1])):
            shutil.rmtree(path, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BadInput("clip-retrieval's files need pyarrow; install it with: pip install 'lienzo[cluster]'") from error
    return pyarrow, parquet
