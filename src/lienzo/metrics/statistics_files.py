"""Reading and writing the .npz files in which others publish reference statistics.

| file | holds |
|---|---|
| pytorch-fid, TTUR, clean-fid `NAME_MODE_SPLIT_RES.npz` | `mu` (D,), `sigma` (D, D) |
| clean-fid `..._kid.npz` | `feats` (N, D) |
| guided-diffusion reference batches | `mu`, `sigma`, `mu_s`, `sigma_s` (spatial), `arr_0` uint8 (N, H, W, 3) |

The files are data: no pickle is opened, each array's kind and size are checked before it is read, and pictures come
in batches, so that a file larger than the memory can be read.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable
from lienzo.metrics.features import check_rows
from lienzo.metrics.fid import Statistics
from lienzo.metrics.gaussian_roots import root_of_covariance
from lienzo.metrics.protocol import Protocol

MAX_DIM = 8192
MAX_ROWS = 4 << 30  # bytes of features
MAX_PICTURE = 64 << 20  # pixels of one picture
_BROKEN = (
    *(OSError, ValueError, EOFError, RuntimeError, MemoryError, LookupError),
    *(struct.error, zlib.error, zipfile.LargeZipFile),
)


class _Array(NamedTuple):
    """An array that has been found but not read: its description, and the stream at its first number."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    stream: IO[bytes]


def read_statistics(path: str | Path, *, spatial: bool = False) -> Statistics:
    """Mean and covariance from a file of pytorch-fid, TTUR, clean-fid, guided-diffusion, or `write_statistics`.

    Args:
        path: The file.
        spatial: Take `mu_s` and `sigma_s`, the spatial features of guided-diffusion's sFID.

    Raises:
        BadInput: one sentence with the file's fault.
    """
    names = ("mu_s", "sigma_s") if spatial else ("mu", "sigma")
    with _reading(path) as archive:
        mu, sigma = (_numbers(archive, name, ndim) for name, ndim in zip(names, (1, 2)))
        said = _text(archive, "protocol")
    if sigma.shape != (len(mu), len(mu)):
        raise _fault(path, f"does not fit together: {names[0]} has {len(mu)} numbers but {names[1]} is {sigma.shape}")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise _fault(path, "holds a NaN or an infinity")
    made = dict(Protocol.parse(said).fields) if said else {}
    n = made.pop("n", "")
    return Statistics(mu, sigma, int(n) if n.isdecimal() and len(n) < 16 else None, made)


def write_statistics(path: str | Path, statistics: Statistics) -> None:
    """Write `mu` and `sigma` as pytorch-fid, TTUR and clean-fid read them, and beside them how they were made."""
    root_of_covariance(statistics.mu, statistics.sigma)  # refuses what is no covariance
    size = {} if statistics.n is None else {"n": statistics.n}
    said = str(Protocol.of("features", statistics.made, size))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, mu=statistics.mu, sigma=statistics.sigma, protocol=np.array(said))


def read_features(path: str | Path) -> Tensor:
    """The features `feats` (N, D) of a clean-fid `_kid.npz`, float32 or float64."""
    with _reading(path) as archive:
        rows = torch.from_numpy(_numbers(archive, "feats", 2))
    check_rows(rows, f"The features in '{printable(Path(path).name, 100)}'")
    return rows


def read_pictures(path: str | Path, batch: int = 256) -> Iterator[np.ndarray]:
    """The pictures `arr_0` of a guided-diffusion file in batches, each uint8 (B, H, W, 3), in order."""
    with _reading(path) as archive, _opened(archive, "arr_0") as array:
        count, *size = array.shape if len(array.shape) == 4 else (0, 0)
        if array.dtype != np.uint8 or array.fortran or len(size) != 3 or size[2] != 3 or not prod(size):
            raise ValueError(f"its arr_0 is {array.dtype} {array.shape}, not 8-bit pictures (N, H, W, 3)")
        if size[0] * size[1] > MAX_PICTURE:
            raise ValueError(f"its pictures have {size[0]} x {size[1]} pixels, too many")
        for start in range(0, count, batch):
            here = min(batch, count - start)
            data = np.frombuffer(_exactly(array.stream, here * prod(size)), np.uint8)
            yield data.reshape(here, *size)


def _fault(path: str | Path, what: str) -> BadInput:
    return BadInput(f"The statistics file '{printable(Path(path).name, 100)}' {what}.")


@contextmanager
def _reading(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong with it becomes one sentence."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError("it is not a plain file")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise _fault(path, "does not exist") from error
    except zipfile.BadZipFile as error:
        raise _fault(path, "is not an .npz file, or is broken") from error
    except _BROKEN as error:
        raise _fault(path, f"cannot be read: {printable(str(error) or 'it is broken', 200).rstrip('.')}") from error


@contextmanager
def _opened(archive: zipfile.ZipFile, name: str) -> Iterator[_Array]:
    """An array by its name, once its description is known to be honest."""
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"it has no array '{name}'") from None
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its array '{name}' has an unknown version")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if any(side < 0 for side in shape) or dtype.hasobject:
            raise ValueError(f"its array '{name}' does not hold plain numbers")
        if prod(shape) * dtype.itemsize != member.file_size - stream.tell():
            raise ValueError(f"its array '{name}' is shorter or longer than it says")
        yield _Array(shape, dtype, fortran, stream)


def _numbers(archive: zipfile.ZipFile, name: str, ndim: int) -> np.ndarray:
    with _opened(archive, name) as array:
        if array.dtype.kind != "f" or len(array.shape) != ndim or not prod(array.shape):
            raise ValueError(f"its array '{name}' is {array.dtype} {array.shape}, not decimal numbers in {ndim}-D")
        if array.shape[-1] > MAX_DIM or prod(array.shape) * array.dtype.itemsize > MAX_ROWS:
            raise ValueError(f"its array '{name}' {array.shape} is too large")
        data = np.frombuffer(_exactly(array.stream, prod(array.shape) * array.dtype.itemsize), array.dtype)
        # float32 features stay so; everything else, other byte orders too, becomes float64
        wanted = np.float32 if name == "feats" and array.dtype.itemsize <= 4 else np.float64
        return data.reshape(array.shape, order="F" if array.fortran else "C").astype(wanted)


def _text(archive: zipfile.ZipFile, name: str) -> str:
    """A short text, or '' where there is none."""
    if f"{name}.npy" not in archive.namelist():
        return ""
    with _opened(archive, name) as array:
        if array.dtype.kind != "U" or array.shape or array.dtype.itemsize > 8192:
            raise ValueError(f"its '{name}' is not a short text")
        return str(np.frombuffer(_exactly(array.stream, array.dtype.itemsize), array.dtype)[0])


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("it ends too early")
    return data
