"""The Battle for Wesnoth: painted portraits, captioned from the unit files that use them, and landscapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lienzo.data.archives import read_package
from lienzo.data.records import Drawing
from lienzo.data.words import clean_name, concept_of, slug, unique

_CORE = "usr/share/games/wesnoth/1.16/data/core/"
_TUTORIAL = "usr/share/games/wesnoth/1.16/data/campaigns/tutorial/images/portraits/"
_TAG = re.compile(r"^\s*\[(/?)([\w+]+)\]")
_VALUE = re.compile(r'^\s*(\w+)\s*=\s*(?:_\s*)?"?([^"#\n]*)"?')
_RACES = {
    "drakes": "drake",
    "dunefolk": "dunefolk",
    "dwarves": "dwarf",
    "elves": "elf",
    "goblins": "goblin",
    "humans": "human",
    "merfolk": "merfolk",
    "monsters": "monster",
    "nagas": "naga",
    "orcs": "orc",
    "saurians": "saurian",
    "trolls": "troll",
    "undead": "undead",
    "wolves": "wolf",
    "woses": "treefolk",
}
_TELLS_RACE = re.compile(r"drak|dun|dwar|elf|elv|gobl|human|mer|nag|orc|saur|trol|wos")


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit file says about the being in a portrait."""

    name: str
    race: str
    gender: str


def portrait_units(text: str) -> dict[str, Unit]:
    """From a unit file: portrait path (below ``images/``) -> unit. Only the text is read; macros are left alone.

    A ``[female]`` or ``[variation]`` block that names its own portrait takes what it does not say from its unit.
    """
    units: dict[str, Unit] = {}
    stack: list[tuple[str, dict[str, str]]] = [("", {})]
    for line in text.splitlines():
        tag = _TAG.match(line)
        if tag and not tag[1]:
            inherits = tag[2] in ("female", "male", "variation")
            stack.append((tag[2], dict(stack[-1][1]) if inherits else {}))
            if inherits:
                stack[-1][1].pop("profile", None)
        elif tag and len(stack) > 1:
            name, values = stack.pop()
            if name in ("unit_type", "female", "male", "variation") and "portraits/" in values.get("profile", ""):
                units.setdefault(_portrait(values["profile"]), _unit(values, name))
        elif value := _VALUE.match(line):
            stack[-1][1].setdefault(value[1], value[2].strip())
            if stack[-1][0] in ("female", "male", "variation"):
                stack[-1][1][value[1]] = value[2].strip()
    return units


def _portrait(profile: str) -> str:
    return profile.split("~")[0].strip().removeprefix("images/")


def _unit(values: dict[str, str], block: str) -> Unit:
    name = clean_name(values.get("name", "").split("^")[-1])
    gender = block if block in ("female", "male") else values.get("gender", "").split(",")[0]
    return Unit(name.lower(), values.get("race", ""), gender)


def wesnoth_drawings(package: Path) -> Iterator[Drawing]:
    """241 portraits and 18 landscapes; a portrait that no unit file links is named after its file."""
    files = dict(read_package(package, _wanted))
    units: dict[str, Unit] = {}
    for path, data in sorted(files.items()):
        if path.endswith(".cfg"):
            for portrait, unit in portrait_units(data.decode("utf-8", "replace")).items():
                units.setdefault(portrait, unit)
    for path, data in sorted(files.items()):
        if path.startswith(_CORE + "images/story/"):
            yield _landscape(PurePosixPath(path), data)
        elif path.endswith((".png", ".webp")):
            place = path.split("/images/", 1)[1]
            yield _painting(PurePosixPath(place), units.get(place), data)


def _wanted(path: str) -> bool:
    if path.startswith(_CORE):
        place = path.removeprefix(_CORE)
        return (
            (place.startswith("images/portraits/") and place.endswith((".png", ".webp")))
            or (place.startswith("images/story/") and place.endswith(".jpg"))
            or (place.startswith("units/") and place.endswith(".cfg"))
        )
    return path.startswith(_TUTORIAL) and path.endswith((".png", ".webp"))


def _painting(place: PurePosixPath, unit: Unit | None, data: bytes) -> Drawing:
    folder = place.parts[1] if len(place.parts) > 2 else ""
    race = _RACES.get(folder, "")
    stem, _, sex = place.stem.partition("+")
    file_name = re.sub(r"[-_ ]?\d+$", "", stem).replace("-", " ").replace("_", " ").lower()
    name = unit.name if unit and unit.name and not file_name.startswith("zombie") else file_name
    gender = (unit.gender if unit else "") or sex
    female = "female " if gender.startswith("female") and race != "monster" else ""
    told = not race or race in ("monster", "undead", "wolf") or _TELLS_RACE.search(name)
    kind = "" if told else f"{race} "
    return Drawing(
        slug=slug("-".join(place.with_suffix("").parts[1:])),
        concept="fantasy-" + concept_of(kind + name),
        name=f"{female}{kind}{name}",
        captions={"en": unique([f"{female}{kind}{name}", name, file_name, f"{female}{race}", race, "fantasy"])},
        style="fantasy portrait",
        source="wesnoth",
        licence="GPL-2.0-or-later",
        author="The Battle for Wesnoth artists",
        data=data,
        kind="raster",
    )


def _landscape(place: PurePosixPath, data: bytes) -> Drawing:
    name = re.sub(r"landscape|nohumans|[-_]|\d+", " ", place.stem)
    name = re.sub(r"\s+", " ", name).strip()
    return Drawing(
        slug=slug(f"story-{place.stem}"),
        concept="fantasy-" + concept_of(name),
        name=f"{name} landscape",
        captions={"en": unique([f"{name} landscape", name, "landscape", "fantasy"])},
        style="fantasy landscape",
        source="wesnoth",
        licence="GPL-2.0-or-later",
        author="The Battle for Wesnoth artists",
        data=data,
        kind="raster",
        fit="fill",
    )
