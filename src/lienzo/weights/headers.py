"""The header of a safetensors file, checked in full before any tensor is made.

Layout: 8 bytes little-endian length n, n bytes of JSON, then the tensors' bytes. The JSON maps a name to
{"dtype", "shape", "data_offsets": [begin, end]} and "__metadata__" to a table of texts.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NoReturn

from torch import Tensor

from lienzo.core.text import printable
from lienzo.weights.inert import Fault
from lienzo.weights.tensors import DTYPES, MAX_TENSORS, check_shape, flat

MAX_HEADER = 100_000_000  # bytes
_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


def header_length(start: bytes, file_bytes: int) -> int:
    """Length of the JSON header by the first 8 bytes of a file of `file_bytes` bytes.

    Raises:
        Fault: the length does not fit the file.
    """
    if len(start) < 8:
        raise Fault("is too short to be a safetensors file")
    (length,) = struct.unpack("<Q", start[:8])
    if length > MAX_HEADER:
        raise Fault(f"states a header of {length} bytes, more than {MAX_HEADER}; it is broken or hostile")
    if length < 2 or 8 + length > file_bytes:
        raise Fault("is cut off inside its header")
    return length


def parse_header(raw: bytes) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The entries and the metadata of a header; entries are not checked yet.

    Raises:
        Fault: it is not JSON of the right form.
    """
    if not raw.startswith(b"{"):
        raise Fault("has a header that is not JSON")
    # JSON of this length can unfold to gigabytes of objects; a real header has few of these signs a tensor.
    if raw.count(b"{") > 2 * MAX_TENSORS or raw.count(b"[") + raw.count(b",") > 50 * MAX_TENSORS:
        raise Fault(f"has a header for more than {MAX_TENSORS} tensors")
    try:
        header = json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Fault("has a header that is not JSON") from error
    if not isinstance(header, dict):
        raise Fault("has a header that is not a table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise Fault("has metadata that is not a table of texts")
    if not all(isinstance(entry, dict) for entry in header.values()):
        raise Fault("has a header entry that is not a table")
    return header, metadata


def read_safetensors(data: memoryview) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a mapped safetensors file, over its bytes, and its metadata.

    Raises:
        Fault: the header or a tensor does not fit the file.
    """
    length = header_length(bytes(data[:8]), len(data))
    header, metadata = parse_header(bytes(data[8 : 8 + length]))
    body = data[8 + length :]
    if len(header) > MAX_TENSORS:
        raise Fault(f"holds {len(header)} tensors, more than {MAX_TENSORS}")
    places = {}
    for name, entry in header.items():
        try:
            places[name] = _place(entry)
        except Fault as fault:
            raise Fault(f"has a broken tensor '{printable(name, 80)}': {fault}") from fault
    _check_places(places, len(body))
    tensors = {}
    for name, (begin, end) in places.items():
        entry = header[name]
        tensors[name] = flat(body[begin:end], _TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name twice")
    return table


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _place(entry: dict[str, Any]) -> tuple[int, int]:
    """Begin and end of one tensor's bytes, checked against its type and shape."""
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    name = _TYPES.get(dtype) if isinstance(dtype, str) else None
    if name not in DTYPES:
        raise Fault(f"its number type '{printable(str(dtype), 20)}' is not known")
    if not isinstance(offsets, list) or len(offsets) != 2 or any(type(place) is not int for place in offsets):
        raise Fault("its place in the file is not given")
    begin, end = offsets
    if begin < 0 or end - begin != check_shape(shape) * DTYPES[name].itemsize:
        raise Fault("its length in the file does not fit its shape")
    return begin, end


def _check_places(places: dict[str, tuple[int, int]], body: int) -> None:
    """The tensors must cover the rest of the file exactly, one after the other."""
    reached = 0
    for name, (begin, end) in sorted(places.items(), key=lambda item: item[1]):
        if begin != reached:
            what = "overlaps another" if begin < reached else "leaves a gap before it"
            raise Fault(f"has a tensor '{printable(name, 80)}' that {what}")
        reached = end
    if reached != body:
        raise Fault("is cut off" if reached > body else "has bytes that belong to no tensor")
