"""Which pictures of an index may be found: a small language that becomes a parameterised condition of SQL.

Parts are joined by spaces, all must hold, and a minus before a part turns it round::

    path:holiday/*      the path fits the pattern, or contains the text where there is no * or ?
    root:Pictures       the same of the indexed folder
    ext:jpg,jpeg        the file's suffix is one of these
    caption:dog         the caption contains it
    after:2024-01-31    changed on that day or later; 2024-01 and 2024 are the first day of it
    before:2024         changed earlier
    size>1.5MB          bytes, kB, MB, GB, KiB, MiB, GiB
    width>=800          pixels; height likewise; with > >= < <= =

Case does not matter. A value with spaces stands in quotes: path:"my holiday".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.search.catalogue import Filter

MAX_LETTERS = 4000
MAX_PARTS = 50
Value = str | int

_PART = re.compile(r"(-?)([A-Za-z]{1,20})(>=|<=|:|=|>|<)(\"[^\"]*\"|'[^']*'|[^\s\"']\S*|)(?=\s|$)")
_AMOUNT = re.compile(r"(\d{1,18}(?:\.\d{0,9})?)\s?([a-z]*)", re.IGNORECASE)
_UNITS = {
    "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_LARGEST = 2**63 - 1
_ROOT = "(SELECT roots.path FROM roots WHERE roots.id = items.root)"
_WHOLE_PATH = f"CAST({_ROOT} || '/' || items.path AS BLOB)"


def parse_filter(text: str) -> Filter:
    """The condition that a filter stands for; an empty text lets everything through.

    Raises:
        BadInput: it does not follow the language above; the sentence names the place, counted from 1.
    """
    if len(text) > MAX_LETTERS:
        raise BadInput(f"The filter has {len(text)} letters; at most {MAX_LETTERS} are read.")
    clauses: list[str] = []
    values: list[Value] = []
    place = 0
    while text[place:].strip():
        place += len(text[place:]) - len(text[place:].lstrip())
        part = _PART.match(text, place)
        if part is None:
            raise BadInput(_not_understood(text, place))
        sign, key, sign_of, value = part.groups()
        value = value[1:-1] if value[:1] in ("'", '"') else value
        clause, needed = _clause(key.lower(), sign_of, value, place + 1)
        clauses.append(f"NOT ({clause})" if sign else f"({clause})")
        values += needed
        place = part.end()
        if len(clauses) > MAX_PARTS:
            raise BadInput(f"The filter has more than {MAX_PARTS} parts.")
    return Filter(" AND ".join(clauses) or "1", tuple(values))


def _not_understood(text: str, place: int) -> str:
    rest = text[place:]
    shown = printable(rest.split()[0], 60)
    if re.match(r"-?[A-Za-z]+(>=|<=|:|=|>|<)[\"']", rest):
        return f"The quote in '{shown}' at place {place + 1} of the filter is not closed, or touches what follows."
    return f"'{shown}' at place {place + 1} of the filter is not understood; write it as caption:dog or width>=800."


def _clause(key: str, sign: str, value: str, place: int) -> tuple[str, list[Value]]:
    """One part as SQL; everything that the user wrote goes into the values."""
    if key not in _KEYS:
        close = difflib.get_close_matches(key, _KEYS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(_KEYS)}."
        raise BadInput(f"There is no '{key}' to filter by at place {place}; {hint}")
    if not value:
        raise BadInput(f"'{key}{sign}' at place {place} of the filter has no value.")
    if key in _NUMBERS:
        column, read = _NUMBERS[key]
        return f"{column} {'=' if sign == ':' else sign} ?", [read(value, key, place)]
    if sign not in (":", "="):
        raise BadInput(f"'{key}' at place {place} of the filter cannot be compared; write {key}:{printable(value, 60)}")
    return _TEXTS[key](value, place)


def _pattern(value: str) -> tuple[str, bool]:
    """A value as a pattern for `named`, and whether it is one: brackets are letters, * and ? are not."""
    wild = "*" in value or "?" in value
    escaped = re.sub(r"\*+", "*", value.casefold().replace("[", "[[]"))
    return escaped, wild


def _path(value: str, place: int) -> tuple[str, list[Value]]:
    pattern, wild = _pattern(value.removeprefix("./"))
    if value.startswith("~/"):
        pattern, wild = _pattern(str(Path(value).expanduser()))
    if not wild:
        return f"named({_WHOLE_PATH}, ?)", [f"*{pattern}*"]
    return f"named({_WHOLE_PATH}, ?)", [pattern if pattern.startswith(("/", "*")) else f"*/{pattern}"]


def _root(value: str, place: int) -> tuple[str, list[Value]]:
    pattern, wild = _pattern(str(Path(value).expanduser()))
    return f"named({_ROOT}, ?)", [pattern if wild else f"*{pattern}*"]


def _ext(value: str, place: int) -> tuple[str, list[Value]]:
    suffixes = [_pattern(each.strip().lstrip("."))[0] for each in value.split(",") if each.strip(" .")]
    if not suffixes or len(suffixes) > MAX_PARTS:
        raise BadInput(f"'ext' at place {place} of the filter needs a suffix such as png.")
    return " OR ".join(["named(items.path, ?)"] * len(suffixes)), [f"*.{suffix}" for suffix in suffixes]


def _caption(value: str, place: int) -> tuple[str, list[Value]]:
    return "instr(fold(items.caption), ?) > 0", [value.casefold()]


def _after(value: str, place: int) -> tuple[str, list[Value]]:
    return "items.mtime_ns >= ?", [_moment(value, "after", place)]


def _before(value: str, place: int) -> tuple[str, list[Value]]:
    return "items.mtime_ns < ?", [_moment(value, "before", place)]


def _moment(value: str, key: str, place: int) -> int:
    """The first nanosecond of a year, month, day or minute of local time, since 1970."""
    whole = value + {4: "-01-01", 7: "-01"}.get(len(value), "")
    try:
        moment = datetime.fromisoformat(whole)
        return max(-_LARGEST, min(int(moment.timestamp()) * 10**9, _LARGEST))
    except (ValueError, OverflowError, OSError) as error:
        shown = printable(value, 60)
        raise BadInput(
            f"'{shown}' after '{key}' at place {place} of the filter is no date; write 2024-01-31."
        ) from error


def _bytes(value: str, key: str, place: int) -> int:
    found = _AMOUNT.fullmatch(value)
    if found is None or found[2].lower() not in _UNITS:
        raise BadInput(
            f"'{printable(value, 60)}' at place {place} of the filter is no size; write it as 500kB or 1.5MB."
        )
    return min(int(float(found[1]) * _UNITS[found[2].lower()]), _LARGEST)


def _pixels(value: str, key: str, place: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}(px)?", value):
        raise BadInput(f"'{printable(value, 60)}' at place {place} of the filter is no {key} in pixels.")
    return int(value.removesuffix("px"))


_NUMBERS: dict[str, tuple[str, Callable[[str, str, int], int]]] = {
    "size": ("items.size", _bytes),
    "width": ("items.width", _pixels),
    "height": ("items.height", _pixels),
}
_TEXTS: dict[str, Callable[[str, int], tuple[str, list[Value]]]] = {
    "path": _path,
    "root": _root,
    "ext": _ext,
    "caption": _caption,
    "after": _after,
    "before": _before,
}
_KEYS = (*_TEXTS, *_NUMBERS)
