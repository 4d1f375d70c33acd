"""Icon sets in Iconify's JSON: bodies, aliases of aliases, flips and rotations, written out as SVG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lienzo.core.errors import BadInput
from lienzo.data.archives import read_package

MAX_DEPTH = 8
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" color="#000" '
    'viewBox="{left} {top} {width} {height}">{body}</svg>'
)


@dataclass(frozen=True, slots=True)
class Icon:
    """One picture of a set; `names` are its own key first, then the keys of aliases that draw the same."""

    names: tuple[str, ...]
    svg: str


@dataclass(frozen=True, slots=True)
class IconSet:
    """A set: its icons, ``hexcode -> key`` where the package tells, ``category -> keys``, licence and author."""

    icons: tuple[Icon, ...]
    characters: dict[str, str]
    categories: dict[str, list[str]]
    licence: str
    author: str


def resolve(icons: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The complete icon behind a key: own values over the parent's over the set's over 16 x 16 at 0, 0.

    `hFlip`, `vFlip` and `rotate` (quarter turns) of an alias add to its parent's.

    Raises:
        BadInput: there is no such key, or its aliases lead nowhere or in a ring.
    """
    chain: list[Mapping[str, Any]] = []
    aliases, asked = icons.get("aliases", {}), name
    while name in aliases and len(chain) <= MAX_DEPTH:
        chain.append(aliases[name])
        name = aliases[name].get("parent", "")
    if name not in icons["icons"] or len(chain) > MAX_DEPTH:
        raise BadInput(f"The icon '{asked}' leads nowhere.")
    chain.append(icons["icons"][name])
    found: dict[str, Any] = {"left": 0, "top": 0, "width": 16, "height": 16}
    found |= {key: icons[key] for key in found if key in icons}
    turns = {"hFlip": False, "vFlip": False, "rotate": 0}
    for level in reversed(chain):
        found |= {key: level[key] for key in ("body", "left", "top", "width", "height") if key in level}
        turns["hFlip"] ^= bool(level.get("hFlip"))
        turns["vFlip"] ^= bool(level.get("vFlip"))
        turns["rotate"] = (turns["rotate"] + int(level.get("rotate", 0))) % 4
    return found | turns


def to_svg(icon: Mapping[str, Any]) -> str:
    """The SVG text of a resolved icon. Rotation swaps width and height, as Iconify's own renderers do."""
    left, top, width, height = (float(icon[key]) for key in ("left", "top", "width", "height"))
    body, moves = icon["body"], []
    centre_x, centre_y = left + width / 2, top + height / 2
    if icon["hFlip"] or icon["vFlip"]:
        flip_x, flip_y = (-1 if icon["hFlip"] else 1), (-1 if icon["vFlip"] else 1)
        moves.append(
            f"translate({centre_x:g} {centre_y:g}) scale({flip_x} {flip_y}) translate({-centre_x:g} {-centre_y:g})"
        )
    if icon["rotate"]:
        moves.insert(0, f"rotate({icon['rotate'] * 90} {centre_x:g} {centre_y:g})")
        if icon["rotate"] % 2:
            left, top, width, height = centre_x - height / 2, centre_y - width / 2, height, width
    if moves:
        body = f'<g transform="{" ".join(moves)}">{body}</g>'
    return _SVG.format(left=f"{left:g}", top=f"{top:g}", width=f"{width:g}", height=f"{height:g}", body=body)


def icons_of(data: Mapping[str, Any]) -> list[Icon]:
    """All icons of a set in key order; an alias that changes nothing is a further name of its parent's icon."""
    names: dict[str, list[str]] = {}
    for name in [*sorted(data["icons"]), *sorted(data.get("aliases", {}))]:
        try:
            svg = to_svg(resolve(data, name))
        except BadInput:
            continue
        names.setdefault(svg, []).append(name)
    return [Icon(tuple(keys), svg) for svg, keys in names.items()]


def read_icon_set(path: Path) -> IconSet:
    """Read an ``@iconify-json/*`` package.

    Raises:
        BadInput: the package holds no icons.
    """
    names = ("icons.json", "info.json", "chars.json", "metadata.json")
    files = {name: json.loads(content) for name, content in read_package(path, lambda name: name in names)}
    if not files.get("icons.json", {}).get("icons"):
        raise BadInput(f"{path.name} holds no icons.json with icons; it is not an Iconify set.")
    info = files.get("info.json", {})
    return IconSet(
        icons=tuple(icons_of(files["icons.json"])),
        characters=files.get("chars.json") or {},
        categories=files.get("metadata.json", {}).get("categories", {}),
        licence=info.get("license", {}).get("spdx", "unknown"),
        author=info.get("author", {}).get("name", "unknown"),
    )
