"""A reader of pickles that runs nothing: each opcode only moves plain data (see `inert`).

It is written out, rather than built on Python's own `Unpickler`, so that the closed table in `inert` is all that a
file can reach, and so that work, nesting and copies are counted. Large byte strings stay views of the file.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from lienzo.weights.inert import Budget, Calls, Fault, Named, Placeholder, canonical, set_state, simple_key

_MAX_LINE = 1 << 16
_MAX_INTEGER_BYTES = 1 << 10
_MAX_MARKS = 10_000
_SMALL = 256  # byte strings up to this many bytes are copied, longer ones stay views


def load(
    data: memoryview,
    start: int = 0,
    *,
    budget: Budget,
    persistent: Callable[[Any], Any],
    load_bytes: Callable[[Any], Any],
) -> tuple[Any, int]:
    """The value of the pickle that begins at `start`, and the position after it.

    Args:
        data: The file, or the part of it that may be read; bytes.
        start: Where the pickle begins.
        budget: Work that may be spent; shared with nested pickles.
        persistent: Turns a persistent id, such as torch's storages, into a value.
        load_bytes: Reads a saved file nested as a byte string.

    Raises:
        Fault: the pickle is cut off, broken, or asks for too much.
    """
    machine = _Machine(data, start, budget, persistent, load_bytes)
    end = len(data)
    while machine.position < end:
        budget.operations -= 1
        code = data[machine.position]
        machine.position += 1
        if code == 0x2E:  # STOP
            return machine.pop(), machine.position
        operation = _OPERATIONS.get(code)
        if operation is None:
            raise Fault(f"holds a pickle with an unknown instruction (0x{code:02x})")
        operation(machine)
        if budget.operations < 0:
            budget.spend()
    raise Fault("is cut off inside a pickle")


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(
        self,
        data: memoryview,
        start: int,
        budget: Budget,
        persistent: Callable[[Any], Any],
        load_bytes: Callable[[Any], Any],
    ):
        self.data = data
        self.position = start
        self.budget = budget
        self.persistent = persistent
        self.calls = Calls(budget, load_bytes)
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def byte(self) -> int:
        if self.position >= len(self.data):
            raise Fault("is cut off inside a pickle")
        self.position += 1
        return self.data[self.position - 1]

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise Fault("is cut off inside a pickle")
        part = self.data[self.position : end]
        self.position = end
        return part

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> bytes:
        part = bytes(self.data[self.position : self.position + _MAX_LINE])
        end = part.find(b"\n")
        if end < 0:
            raise Fault("is cut off inside a pickle")
        self.position += end + 1
        return part[:end]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise Fault("holds a broken pickle (it takes what is not there)")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise Fault("holds a broken pickle (it takes what is not there)")
        return self.stack[-1]

    def mark(self) -> None:
        if len(self.below) >= _MAX_MARKS:
            raise Fault("holds a pickle that is nested too deeply")
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        if not self.below:
            raise Fault("holds a broken pickle (it takes what is not there)")
        items, self.stack = self.stack, self.below.pop()
        return items

    def remember(self, index: int) -> None:
        if index < 0:
            raise Fault("holds a broken pickle (its memo has a negative index)")
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise Fault("holds a broken pickle (it recalls what it never stored)")
        self.stack.append(self.memo[index])


def _integer(raw: memoryview) -> int:
    if len(raw) > _MAX_INTEGER_BYTES:
        raise Fault("holds an absurdly long integer")
    return int.from_bytes(raw, "little", signed=True)


def _text_number(m: _Machine) -> None:
    """INT and LONG: decimal text; ``00`` and ``01`` are the booleans of protocol 0."""
    line = m.line().rstrip(b"L")
    if line in (b"00", b"01"):
        m.push(line == b"01")
        return
    try:
        m.push(int(line[:_MAX_INTEGER_BYTES]))
    except ValueError as error:
        raise Fault("holds a broken number") from error


def _text_float(m: _Machine) -> None:
    try:
        m.push(float(m.line()))
    except ValueError as error:
        raise Fault("holds a broken number") from error


def _utf8(raw: memoryview) -> str:
    return str(raw, "utf-8", "replace")


def _old_string(raw: bytes | memoryview) -> str | bytes:
    """A Python 2 string: text where it is plain ASCII, otherwise bytes."""
    raw = bytes(raw)
    return raw.decode("ascii") if raw.isascii() else raw


def _quoted_string(m: _Machine) -> None:
    line = m.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Fault("holds a broken string")
    try:
        m.push(_old_string(codecs.escape_decode(line[1:-1])[0]))
    except ValueError as error:
        raise Fault("holds a broken string") from error


def _unicode_line(m: _Machine) -> None:
    m.push(m.line().decode("raw-unicode-escape", "replace"))


def _blob(m: _Machine, count: int) -> None:
    part = m.take(count)
    m.push(bytes(part) if count <= _SMALL else part)


def _tuple_of(m: _Machine, count: int) -> None:
    if len(m.stack) < count:
        raise Fault("holds a broken pickle (it takes what is not there)")
    items = tuple(m.stack[-count:])
    del m.stack[-count:]
    m.push(items)


def _put_entries(m: _Machine, into: Any, flat: list[Any]) -> None:
    if isinstance(into, Placeholder):
        into = into.entries
    if not isinstance(into, dict) or len(flat) % 2:
        raise Fault("holds a broken pickle (it fills something that is not a dictionary)")
    for key, value in zip(flat[::2], flat[1::2]):
        into[simple_key(key, m.budget)] = value


def _put_items(into: Any, items: list[Any]) -> None:
    if isinstance(into, Placeholder):
        into = into.items
    if not isinstance(into, list):
        raise Fault("holds a broken pickle (it fills something that is not a list)")
    into.extend(items)


def _dict(m: _Machine) -> None:
    made: dict[Any, Any] = {}
    _put_entries(m, made, m.since_mark())
    m.push(made)


def _set_item(m: _Machine) -> None:
    value, key = m.pop(), m.pop()
    _put_entries(m, m.top(), [key, value])


def _set_items(m: _Machine) -> None:
    items = m.since_mark()
    _put_entries(m, m.top(), items)


def _append(m: _Machine) -> None:
    item = m.pop()
    _put_items(m.top(), [item])


def _extend(m: _Machine) -> None:
    items = m.since_mark()
    _put_items(m.top(), items)


def _global(m: _Machine) -> None:
    module, name = (line.decode("utf-8", "replace") for line in (m.line(), m.line()))
    m.push(Named(canonical(module, name)))


def _stack_global(m: _Machine) -> None:
    name, module = m.pop(), m.pop()
    if type(name) is not str or type(module) is not str:
        raise Fault("holds a broken pickle (a class without a name)")
    if len(name) + len(module) > _MAX_LINE:
        raise Fault("holds a broken pickle (a class with an absurd name)")
    m.push(Named(canonical(module, name)))


def _call(m: _Machine) -> None:
    """REDUCE and NEWOBJ: both only look into the closed table."""
    args, callee = m.pop(), m.pop()
    m.push(m.calls.make(callee, args))


def _new_with_names(m: _Machine) -> None:
    _, args, callee = m.pop(), m.pop(), m.pop()
    m.push(m.calls.make(callee, args))


def _instance(m: _Machine) -> None:
    module, name = (line.decode("utf-8", "replace") for line in (m.line(), m.line()))
    m.push(m.calls.make(Named(canonical(module, name)), tuple(m.since_mark())))


def _object(m: _Machine) -> None:
    items = m.since_mark()
    if not items:
        raise Fault("holds a broken pickle (an object without a class)")
    m.push(m.calls.make(items[0], tuple(items[1:])))


def _build(m: _Machine) -> None:
    state = m.pop()
    set_state(m.top(), state)


def _extension(m: _Machine, code: int) -> None:
    """EXT1, EXT2, EXT4: names from copyreg's registry, which is never asked."""
    m.push(Named(f"copyreg.extension.{code}"))


def _pop_mark_or_item(m: _Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.since_mark()


_OPERATIONS: dict[int, Callable[[_Machine], Any]] = {
    ord("("): _Machine.mark,
    ord("0"): _pop_mark_or_item,
    ord("1"): lambda m: m.since_mark(),
    ord("2"): lambda m: m.push(m.top()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): _text_number,
    ord("L"): _text_number,
    ord("F"): _text_float,
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.byte()),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("G"): lambda m: m.push(m.number(">d")),
    0x8A: lambda m: m.push(_integer(m.take(m.byte()))),
    0x8B: lambda m: m.push(_integer(m.take(m.number("<i")))),
    ord("S"): _quoted_string,
    ord("T"): lambda m: m.push(_old_string(m.take(m.number("<i")))),
    ord("U"): lambda m: m.push(_old_string(m.take(m.byte()))),
    ord("V"): _unicode_line,
    ord("X"): lambda m: m.push(_utf8(m.take(m.number("<I")))),
    0x8C: lambda m: m.push(_utf8(m.take(m.byte()))),
    0x8D: lambda m: m.push(_utf8(m.take(m.number("<Q")))),
    ord("B"): lambda m: _blob(m, m.number("<I")),
    ord("C"): lambda m: _blob(m, m.byte()),
    0x8E: lambda m: _blob(m, m.number("<Q")),
    0x96: lambda m: _blob(m, m.number("<Q")),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: lambda m: _tuple_of(m, 1),
    0x86: lambda m: _tuple_of(m, 2),
    0x87: lambda m: _tuple_of(m, 3),
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.since_mark()),
    ord("a"): _append,
    ord("e"): _extend,
    ord("}"): lambda m: m.push({}),
    ord("d"): _dict,
    ord("s"): _set_item,
    ord("u"): _set_items,
    0x8F: lambda m: m.push([]),
    0x90: _extend,
    0x91: lambda m: m.push(m.since_mark()),
    ord("c"): _global,
    0x93: _stack_global,
    ord("R"): _call,
    0x81: _call,
    0x92: _new_with_names,
    ord("i"): _instance,
    ord("o"): _object,
    ord("b"): _build,
    0x82: lambda m: _extension(m, m.byte()),
    0x83: lambda m: _extension(m, m.number("<H")),
    0x84: lambda m: _extension(m, m.number("<i")),
    ord("P"): lambda m: m.push(m.persistent(m.line().decode("utf-8", "replace"))),
    ord("Q"): lambda m: m.push(m.persistent(m.pop())),
    ord("g"): lambda m: m.recall(_memo_index(m.line())),
    ord("h"): lambda m: m.recall(m.byte()),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("p"): lambda m: m.remember(_memo_index(m.line())),
    ord("q"): lambda m: m.remember(m.byte()),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    0x80: lambda m: m.byte(),
    0x95: lambda m: m.take(8),
}


def _memo_index(line: bytes) -> int:
    if not line.isdigit() or len(line) > 12:
        raise Fault("holds a broken pickle (its memo has a strange index)")
    return int(line)
