"""A figure and how it was measured. Two figures whose protocols differ cannot be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_VALUE = re.compile(r"[^\s,=\[\]]+")
_WHOLE = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Protocol:
    """How a figure was measured: the metric's name and its settings in order, e.g. ``fid[net=judge,n=1000]``.

    Raises:
        BadInput: a name or value is empty, holds spaces or one of ``,=[]``, or a field comes twice.
    """

    name: str
    fields: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, *(key for key, _ in self.fields)):
            if not _NAME.fullmatch(name):
                raise BadInput(f"'{printable(name, 40)}' cannot be a name in a protocol; use letters, digits, . _ -.")
        for key, value in self.fields:
            if not _VALUE.fullmatch(value):
                raise BadInput(f"The protocol's {key} cannot be '{printable(value, 40)}': no spaces and none of ,=[].")
        if len(dict(self.fields)) < len(self.fields):
            raise BadInput(f"The protocol of {self.name} has a field twice.")

    def __str__(self) -> str:
        return f"{self.name}[{','.join(f'{key}={value}' for key, value in self.fields)}]"

    def __getitem__(self, key: str) -> str | None:
        return dict(self.fields).get(key)

    @classmethod
    def of(cls, name: str, *parts: Mapping[str, object]) -> Protocol:
        """A protocol from mappings, in their order; spaces and ``,=[]`` in values become ``_``, empty ones go."""
        fields = [(key, re.sub(r"[\s,=\[\]]", "_", str(value))) for part in parts for key, value in part.items()]
        return cls(name, tuple((key, value) for key, value in fields if value))

    @classmethod
    def parse(cls, text: str) -> Protocol:
        """Read what `str` of a protocol gave.

        Raises:
            BadInput: the text is no protocol.
        """
        match = _WHOLE.fullmatch(text.strip())
        parts = [part.partition("=") for part in match[2].split(",")] if match and match[2] else []
        if match is None or not all(equals for _, equals, _ in parts):
            raise BadInput(f"'{printable(text, 80)}' is not a protocol such as fid[net=judge,n=1000].")
        return cls(match[1], tuple((key, value) for key, _, value in parts))


@dataclass(frozen=True)
class Score:
    """One figure.

    Attributes:
        name: What was measured, e.g. ``kid`` or ``kid_std``.
        value: The figure.
        protocol: How it was measured.
        interval: Where the figure lies with the asked confidence, or None where that was not asked.
        notes: What a reader must know, e.g. that there were too few pictures.
    """

    name: str
    value: float
    protocol: Protocol
    interval: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        spread = f" ({self.interval[0]:.6g} to {self.interval[1]:.6g})" if self.interval else ""
        fields = str(self.protocol)[len(self.protocol.name) :]
        return f"{self.name}{fields} = {self.value:.6g}{spread}"


def comparable(a: Protocol, b: Protocol) -> None:
    """Pass where two figures may be set side by side.

    Raises:
        BadInput: they are of different metrics, or a field differs or is absent in one; the sentence names each.
    """
    if a.name != b.name:
        raise BadInput(f"'{a.name}' and '{b.name}' are different metrics: they cannot be compared.")
    keys = dict.fromkeys(key for key, _ in (*a.fields, *b.fields))
    if differing := [key for key in keys if a[key] != b[key]]:
        ours, theirs = (", ".join(_said(key, side[key]) for key in differing) for side in (a, b))
        raise BadInput(f"One {a.name} was measured with {ours}, the other with {theirs}: they cannot be compared.")


def _said(key: str, value: str | None) -> str:
    return f"no {key}" if value is None else f"{key}={value}"
