"""What a pickle may become: plain containers, references to tensors, and inert stand-ins for all else.

A pickle is a small program that names classes and functions and asks for them to be called. Here a name is only
ever a `Named`, and asking to call it looks it up in `CALLS`, a closed table of functions of ours that build plain
data. Whatever is not in the table becomes a `Placeholder` that remembers its name: nothing is imported, nothing
from the file runs, and a checkpoint that also holds callbacks or settings objects still gives up its weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class Fault(Exception):
    """What is wrong with a weight file, as the end of a sentence that begins with the file's name."""


@dataclass(slots=True)
class Budget:
    """Work that one file may cost, shared by the pickles nested in it."""

    operations: int = 5_000_000
    odd_keys: int = 10_000
    nesting: int = 2

    def spend(self, operations: int = 1) -> None:
        """Count work; raises Fault when the file asks for too much."""
        self.operations -= operations
        if self.operations < 0:
            raise Fault("asks for far more work than any real checkpoint; it is broken or hostile")


@dataclass(slots=True, eq=False)
class Named:
    """A class or function by name, never imported."""

    name: str


@dataclass(slots=True, eq=False)
class Placeholder:
    """Stands for an object that would have been made by foreign code."""

    name: str
    args: Any = ()
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Storage:
    """A run of numbers: `count` of `dtype` (a torch name such as ``float32``), once `data` is known."""

    dtype: str
    count: int
    data: memoryview | None = None


@dataclass(slots=True, eq=False)
class TensorView:
    """A tensor over a storage. All fields come from the file unchecked; `tensors.build` checks them."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    dtype: Any = None


@dataclass(slots=True, eq=False)
class NumberType:
    """A numpy dtype of plain numbers, e.g. kind ``f4``; kind is empty when it is anything else."""

    kind: str
    order: str = "<"


@dataclass(slots=True, eq=False)
class Array:
    """A numpy array; its fields come from the file unchecked."""

    dtype: Any = None
    shape: Any = ()
    fortran: bool = False
    data: Any = b""


@dataclass(slots=True)
class Calls:
    """Everything that a pickle's REDUCE can reach: `budget` is charged for what is copied."""

    budget: Budget
    load_bytes: Callable[[Any], Any]

    def make(self, callee: Any, args: Any) -> Any:
        """The plain value of a call, or a Placeholder that remembers what was asked for."""
        name = callee.name if isinstance(callee, Named) else f"({type(callee).__name__})"
        rule = CALLS.get(name)
        if rule is None or not isinstance(callee, Named) or not isinstance(args, tuple):
            return Placeholder(name, args)
        try:
            return rule(self, *args)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise Fault(f"gives {name} arguments that do not fit") from error


def canonical(module: str, name: str) -> str:
    """One spelling for the modules that Python 3 and numpy 2 renamed."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    if module.startswith("numpy.core."):
        module = "numpy._core." + module.removeprefix("numpy.core.")
    return f"{module}.{name}"


def simple_key(value: Any, budget: Budget) -> Any:
    """`value` if it may be a dictionary key.

    Nested tuples are refused since hashing them can take exponential time; huge integers and many tuples, since
    their hashes can be made to collide.
    """
    kind = type(value)
    if kind in (str, bytes, bool, type(None), Named, Placeholder):
        return value
    if kind is int and -(2**60) < value < 2**60:
        return value
    budget.odd_keys -= 1
    if budget.odd_keys >= 0:
        if kind is float or (kind is int and value.bit_length() <= 128):
            return value
        flat = (str, bytes, bool, int, type(None))
        if kind is tuple and len(value) <= 16 and all(type(part) in flat for part in value):
            return value
    raise Fault("uses something as a dictionary key that no checkpoint does")


def _pairs(calls: Calls, *args: Any) -> dict[Any, Any]:
    """OrderedDict(pairs), dict(mapping), Counter(mapping)."""
    given = args[0] if args else ()
    if isinstance(given, dict):
        calls.budget.spend(len(given))
        return dict(given)
    made: dict[Any, Any] = {}
    if isinstance(given, list | tuple):
        calls.budget.spend(len(given))
        for pair in given:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise ValueError("not a pair")
            made[simple_key(pair[0], calls.budget)] = pair[1]
    return made


def _factory_dict(calls: Calls, *args: Any) -> dict[Any, Any]:
    """defaultdict(factory, ...): the factory is dropped."""
    return _pairs(calls, *args[1:])


def _items(calls: Calls, *args: Any) -> list[Any]:
    """set, frozenset and list: sets stay lists, since nothing here needs to hash their members."""
    if args and isinstance(args[0], list | tuple):
        calls.budget.spend(len(args[0]))
        return list(args[0])
    return []


def _size(calls: Calls, *args: Any) -> tuple[Any, ...]:
    return tuple(_items(calls, *args))


def _first(calls: Calls, first: Any, *rest: Any) -> Any:
    """Parameter(tensor), TorchScript's typed lists: the value itself."""
    return first


def _device(calls: Calls, *args: Any) -> str:
    return ":".join(str(part) for part in args if type(part) in (str, int))[:32]


def _encoded(calls: Calls, text: str, encoding: str = "latin1") -> Any:
    """bytes as Python 3 writes them for protocol 2: ``_codecs.encode(text, "latin1")``."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        return Placeholder("_codecs.encode")
    calls.budget.spend(len(text) // 64)
    return text.encode("latin1")


def _bytes(calls: Calls, *args: Any) -> Any:
    """bytes(), bytearray(b"...") and bytearray("...", "latin-1"); never bytearray(number), which allocates."""
    if not args:
        return b""
    if isinstance(args[0], str):
        return _encoded(calls, *args[:2])
    if isinstance(args[0], bytes | memoryview):
        return args[0]
    return Placeholder("builtins.bytearray")


def _complex(calls: Calls, real: Any, imag: Any = 0.0) -> complex:
    if type(real) not in (int, float) or type(imag) not in (int, float):
        raise ValueError("not numbers")
    return complex(real, imag)


def _tensor(calls: Calls, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> TensorView:
    """_rebuild_tensor and _rebuild_tensor_v2; gradients and hooks are dropped."""
    return TensorView(storage, offset, size, stride)


def _tensor_v3(calls: Calls, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> TensorView:
    """As v2, with its own number type over an untyped storage."""
    return TensorView(storage, offset, size, stride, rest[2])


def _subclass(calls: Calls, function: Any, kind: Any, args: Any, state: Any = None) -> Any:
    """_rebuild_from_type_v2(function, class, args, state): the plain tensor without its class and state."""
    return calls.make(function, args) if isinstance(function, Named) and "_rebuild" in function.name else kind


def _load_bytes(calls: Calls, data: Any) -> Any:
    """torch.storage._load_from_bytes: a whole saved file inside the pickle, read by the same rules."""
    if not isinstance(data, bytes | memoryview):
        return Placeholder("torch.storage._load_from_bytes")
    if calls.budget.nesting <= 0:
        raise Fault("has saved files nested inside saved files")
    calls.budget.nesting -= 1
    try:
        return calls.load_bytes(data)
    finally:
        calls.budget.nesting += 1


def _number_type(calls: Calls, kind: Any, *rest: Any) -> NumberType:
    """numpy.dtype("f4", ...); the byte order comes by BUILD."""
    match = re.fullmatch(r"([<>=|]?)(b1|[iu][1248]|f[248]|c8|c16)", kind) if isinstance(kind, str) else None
    return NumberType(match[2], ">" if match[1] == ">" else "<") if match else NumberType("")


def _scalar(calls: Calls, dtype: Any, data: Any = b"") -> Any:
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(dtype, NumberType) or not dtype.kind or not isinstance(data, bytes):
        return Placeholder("numpy.scalar")
    return np.frombuffer(data, np.dtype(dtype.order + dtype.kind), count=1)[0].item()


def _empty_array(calls: Calls, *args: Any) -> Array:
    return Array()


def _buffer_array(calls: Calls, data: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    return Array(dtype, shape, order == "F", data)


def _reconstructed(calls: Calls, kind: Any, base: Any = None, state: Any = None) -> Placeholder:
    """copyreg._reconstructor(class, base, state): how protocols 0 and 1 make any object."""
    made = Placeholder(kind.name if isinstance(kind, Named) else "(object)")
    if isinstance(state, dict):
        made.entries = state
    return made


CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _pairs,
    "collections.Counter": _pairs,
    "collections.defaultdict": _factory_dict,
    "builtins.dict": _pairs,
    "builtins.set": _items,
    "builtins.frozenset": _items,
    "builtins.list": _items,
    "builtins.tuple": _size,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": _complex,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructed,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.nn.parameter.Parameter": _first,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.storage._load_from_bytes": _load_bytes,
    "torch.jit._pickle.restore_type_tag": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "numpy.dtype": _number_type,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy._core.numeric._frombuffer": _buffer_array,
}


def set_state(made: Any, state: Any) -> None:
    """BUILD: give an object its state, as data. Plain containers ignore it."""
    if isinstance(made, Placeholder):
        made.state = state
    elif isinstance(made, NumberType):
        plain = isinstance(state, tuple) and len(state) >= 5 and state[2:5] == (None, None, None)
        made.kind = made.kind if plain else ""
        if plain and state[1] == ">":
            made.order = ">"
    elif isinstance(made, Array) and isinstance(state, tuple) and len(state) == 5:
        _, made.shape, made.dtype, fortran, made.data = state
        made.fortran = fortran is True or fortran == 1
