"""Finding the weights in what a checkpoint holds: groups of tensors, modules, and the plain values beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lienzo.core.text import printable
from lienzo.weights.inert import Array, Fault, Placeholder, TensorView
from lienzo.weights.tensors import element_count, is_tensor

_MAX_NODES = 500_000
_MAX_DEPTH = 100
_MAX_NAME = 1000
_EXTRA_KEYS = 200
_EXTRA_NODES = 10_000  # for each key
_EXTRA_DEPTH = 6
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and torch.compile
_EMA = re.compile(r"(^|[_.\W])ema($|[_.\W])", re.IGNORECASE)


@dataclass(frozen=True)
class Group:
    """One dictionary of tensors, or one module, at a dotted place of the checkpoint ('' is its root)."""

    place: str
    views: dict[str, TensorView | Array]
    elements: int


def groups(root: Any) -> list[Group]:
    """All groups of tensors in a checkpoint, optimizer states left out.

    Raises:
        Fault: the checkpoint nests too deeply or refers to itself without end.
    """
    walk = _Walk()
    return [group for group in walk.groups(root, "", 0) if group.views]


def choose(found: list[Group], inner: str | None) -> Group:
    """The group that holds the weights.

    By name when `inner` is given: the whole place, or its last part where that is unique. Otherwise the group with
    the most numbers; but where one holds moving averages ("ema" is a word of its name: ``params_ema``, ``g_ema``,
    ``ema_state_dict``) and is at least half as large, the largest of those, since averages are what one samples.

    Raises:
        Fault: nothing is found; the sentence names what is there.
    """
    if not found:
        raise Fault("holds no tensors that Lienzo can find")
    if inner is not None:
        exact = [group for group in found if group.place == inner]
        close = exact or [group for group in found if group.place.rpartition(".")[2] == inner]
        if len(close) != 1:
            places = ", ".join(f"'{printable(group.place, 40)}'" for group in found[:8])
            raise Fault(f"holds no single part '{printable(inner, 40)}'; there are {places}")
        return close[0]
    largest = max(found, key=lambda group: group.elements)
    averages = [g for g in found if _EMA.search(g.place) and 2 * g.elements >= largest.elements]
    return max(averages, key=lambda group: group.elements) if averages else largest


def unwrapped(views: dict[str, Any]) -> dict[str, Any]:
    """The same tensors without the prefix that a training wrapper put before every name."""
    for prefix in _WRAPPERS:
        if views and all(name.startswith(prefix) for name in views):
            views = {name[len(prefix) :]: view for name, view in views.items()}
    return views


def extras(root: Any) -> dict[str, Any]:
    """The plain values of a checkpoint's root and of its settings objects, ready for JSON; all else is dropped."""
    table = {} if _is_module(root) else _attributes(root) or {}
    named = (item for item in table.items() if isinstance(item[0], str) and not is_tensor(item[1]))
    plain = {
        key: _plain(value, [_EXTRA_NODES], 0)
        for key, value in islice(named, _EXTRA_KEYS)
        if len(key) <= _MAX_NAME and "optim" not in key.lower()
    }
    return {key: value for key, value in plain.items() if value is not _DROPPED}


class _Walk:
    """Visits a checkpoint with a limit on steps: shared parts can make a small file an endless tree."""

    def __init__(self) -> None:
        self.nodes = _MAX_NODES

    def step(self, depth: int, cost: int = 1) -> None:
        self.nodes -= cost
        if self.nodes < 0 or depth > _MAX_DEPTH:
            raise Fault("nests deeper than any real checkpoint or refers to itself")

    def groups(self, value: Any, place: str, depth: int) -> Iterator[Group]:
        self.step(depth)
        if _is_module(value):
            views = dict(self.flattened(value, "", depth))
            yield Group(place, views, sum(map(element_count, views.values())))
            return
        if isinstance(value, list | tuple):
            table: dict[Any, Any] = {str(index): item for index, item in enumerate(value[:64])}
        else:
            table = _attributes(value) or {}
        self.step(depth, len(table))
        if "param_groups" in table:  # an optimizer's state
            return
        views = {str(key): item for key, item in table.items() if isinstance(key, str) and is_tensor(item)}
        yield Group(place, views, sum(map(element_count, views.values())))
        for key, item in table.items():
            nested = isinstance(item, dict | list | tuple | Placeholder)
            if nested and isinstance(key, str) and "optim" not in key.lower():
                yield from self.groups(item, _dotted(place, key), depth + 1)

    def flattened(self, value: Any, prefix: str, depth: int) -> Iterator[tuple[str, TensorView | Array]]:
        """The tensors of a module and of its children, by dotted names as in a state dict."""
        self.step(depth)
        if is_tensor(value):
            yield prefix, value
            return
        if isinstance(value, list | tuple):
            table: dict[Any, Any] = {str(index): item for index, item in enumerate(value)}
        elif isinstance(value, dict):
            table = value
        else:
            table = _attributes(value) or {}
        self.step(depth, len(table))
        for key, item in table.items():
            if isinstance(key, str) and isinstance(item, TensorView | Array | Placeholder | dict | list | tuple):
                yield from self.flattened(item, _dotted(prefix, key), depth + 1)


def _dotted(place: str, key: str) -> str:
    if len(key) > _MAX_NAME:
        raise Fault("has a name of absurd length")
    return f"{place}.{key}" if place else key


def _state(value: Placeholder) -> dict[Any, Any]:
    """The attributes that an object was to be given, wherever its pickle keeps them."""
    state = value.state
    if value.name.endswith(".persistence._reconstruct_persistent_obj"):
        meta = value.args[0] if isinstance(value.args, tuple) and value.args else None
        state = (_attributes(meta) or {}).get("state")
    if isinstance(state, tuple):  # (attributes, slots)
        state = next((part for part in state if isinstance(part, dict)), None)
    return state if isinstance(state, dict) else {}


def _is_module(value: Any) -> bool:
    if not isinstance(value, Placeholder):
        return False
    return value.name.startswith("__torch__.") or "_modules" in _state(value)


def _attributes(value: Any) -> dict[Any, Any] | None:
    """The named parts of a dictionary or of a stand-in; a module's are its parameters, buffers and children."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Placeholder):
        return None
    state = _state(value)
    if "_modules" not in state:
        return value.entries | state
    temporary = state.get("_non_persistent_buffers_set")
    skipped = {name for name in temporary if isinstance(name, str)} if isinstance(temporary, list) else set()
    parts: dict[Any, Any] = {}
    for kind in ("_parameters", "_buffers", "_modules"):
        table = state.get(kind)
        if isinstance(table, dict):
            parts |= {k: v for k, v in table.items() if kind != "_buffers" or k not in skipped}
    return parts


_DROPPED = object()


def _plain(value: Any, nodes: list[int], depth: int) -> Any:
    """`value` if JSON can hold it; settings objects become tables of what JSON can hold of them."""
    nodes[0] -= 1
    if nodes[0] < 0 or depth > _EXTRA_DEPTH or is_tensor(value):
        return _DROPPED
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else _DROPPED
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value if len(value) <= 10_000 else _DROPPED
    if isinstance(value, list | tuple):
        items = [_plain(item, nodes, depth + 1) for item in value[:1000]]
        return _DROPPED if any(item is _DROPPED for item in items) else items
    table = None if _is_module(value) else _attributes(value)
    if not table:
        return {} if isinstance(value, dict) else _DROPPED
    nodes[0] -= len(table)
    plain = {k: _plain(v, nodes, depth + 1) for k, v in islice(table.items(), 1000) if isinstance(k, str)}
    return {k: v for k, v in plain.items() if v is not _DROPPED} or _DROPPED
