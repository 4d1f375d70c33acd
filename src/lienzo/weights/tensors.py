"""Tensors over the bytes of a file: every number from the file is checked before torch sees it.

Torch itself trusts sizes and strides; here a view must lie inside its storage, and all views together may not
unfold to more than a few times what the file holds (a stride of 0 can make a byte look like a terabyte).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lienzo.core.text import printable
from lienzo.weights.inert import Array, Fault, Named, NumberType, Storage, TensorView

MAX_TENSORS = 100_000
MAX_RANK = 32
_FREE_UNFOLD = 256 << 20  # bytes that views may unfold to whatever the size of the file

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        "bool uint8 int8 int16 uint16 int32 uint32 int64 uint64 float16 bfloat16 float32 float64 "
        "complex64 complex128 float8_e4m3fn float8_e5m2 float8_e8m0fnu"
    ).split()
    if hasattr(torch, name)
}
STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "UntypedStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


def storage_dtype(kind: Any) -> str:
    """The number type of a storage class such as ``torch.FloatStorage`` or ``torch.cuda.HalfStorage``."""
    name = kind.name if isinstance(kind, Named) else ""
    dtype = STORAGES.get(name.rpartition(".")[2]) if name.startswith("torch.") else None
    if dtype is None:
        raise Fault(f"keeps numbers as '{printable(name, 60)}', which Lienzo does not read")
    return dtype


def is_tensor(value: Any) -> bool:
    """Whether a value of a pickle stands for a tensor or a numpy array of numbers."""
    if isinstance(value, Array):
        return isinstance(value.dtype, NumberType) and bool(value.dtype.kind)
    return isinstance(value, TensorView)


def element_count(value: TensorView | Array) -> int:
    """Number of elements by the stated size; 0 when the size makes no sense."""
    size = value.size if isinstance(value, TensorView) else value.shape
    count = 1
    for length in size if isinstance(size, tuple) else (0,):
        count *= length if type(length) is int and 0 <= length < 2**48 else 0
    return count


def build(views: Mapping[str, TensorView | Array], file_bytes: int) -> dict[str, Tensor]:
    """Torch tensors for all views of a file; views of one storage share memory.

    Args:
        views: Tensors by name as the file describes them.
        file_bytes: Size of the file, in bytes; bounds what the views may unfold to.

    Raises:
        Fault: naming the first tensor that does not fit.
    """
    if len(views) > MAX_TENSORS:
        raise Fault(f"holds {len(views)} tensors, more than {MAX_TENSORS}")
    left = max(8 * file_bytes, _FREE_UNFOLD)
    storages: dict[tuple[int, str], Tensor] = {}
    tensors = {}
    for name, view in views.items():
        try:
            tensor = _array(view) if isinstance(view, Array) else _tensor(view, storages)
        except Fault as fault:
            raise Fault(f"has a broken tensor '{printable(name, 80)}': {fault}") from fault
        left -= tensor.numel() * tensor.element_size()
        if left < 0:
            raise Fault("has tensors that unfold to far more than its size (a bomb)")
        tensors[name] = tensor
    return tensors


def flat(data: memoryview, dtype: str) -> Tensor:
    """A tensor (n,) over `data`; a copy only where the bytes are read-only or badly aligned for `dtype`."""
    kind = DTYPES[dtype]
    if not len(data):
        return torch.empty(0, dtype=kind)
    if dtype == "bool":  # any other byte than 0 and 1 is undefined behaviour inside torch
        return flat(data, "uint8") != 0
    misaligned = np.frombuffer(data, np.uint8).ctypes.data % kind.itemsize
    return torch.frombuffer(bytearray(data) if data.readonly or misaligned else data, dtype=kind)


def check_shape(size: Any) -> int:
    """The number of elements of a shape.

    Raises:
        Fault: it is not a tuple or list of sensible lengths.
    """
    if not isinstance(size, tuple | list) or len(size) > MAX_RANK:
        raise Fault("its shape is not a list of numbers")
    count = span = 1
    for length in size:
        if type(length) is not int or not 0 <= length < 2**48:
            raise Fault("its shape has a negative or absurd length")
        count *= length
        span *= max(length, 1)
    if span >= 2**60:
        raise Fault("its shape is absurdly large")
    return count


def _tensor(view: TensorView, storages: dict[tuple[int, str], Tensor]) -> Tensor:
    storage, offset, size, stride = view.storage, view.offset, view.size, view.stride
    if not isinstance(storage, Storage) or storage.data is None:
        raise Fault("it has no numbers")
    dtype = storage.dtype if view.dtype is None else _named_dtype(view.dtype)
    if len(storage.data) % DTYPES[dtype].itemsize:
        raise Fault("its number type does not fit its storage")
    key = (id(storage), dtype)
    base = storages[key] if key in storages else storages.setdefault(key, flat(storage.data, dtype))
    count = check_shape(size)
    if not isinstance(stride, tuple | list) or len(stride) != len(size):
        raise Fault("its strides do not fit its shape")
    if any(type(step) is not int or not 0 <= step < 2**48 for step in stride):
        raise Fault("its strides are negative or absurd")
    if type(offset) is not int or offset < 0:
        raise Fault("it begins before its storage")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride)) if count else 0
    if count == 0:
        return torch.empty(tuple(size), dtype=base.dtype)
    if last >= base.numel():
        raise Fault("it reaches beyond its storage")
    return base.as_strided(tuple(size), tuple(stride), offset)


def _named_dtype(dtype: Any) -> str:
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Named) else ""
    if name not in DTYPES:
        raise Fault(f"its number type '{printable(name, 40)}' is not known")
    return name


def _array(array: Array) -> Tensor:
    """A numpy array as a tensor of its own memory."""
    count, kind = check_shape(array.shape), np.dtype(array.dtype.order + array.dtype.kind)
    data = array.data.encode("latin1", "replace") if isinstance(array.data, str) else array.data
    if not isinstance(data, bytes | memoryview) or memoryview(data).nbytes != count * kind.itemsize:
        raise Fault("its bytes do not fit its shape")
    values = np.frombuffer(data, kind, count).astype(kind.newbyteorder("="))
    return torch.from_numpy(values.reshape(tuple(array.shape), order="F" if array.fortran else "C").copy())
