"""Build the corpus of captioned drawings: find the packages, draw each source once, then put all together."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Progress
from lienzo.data.art_assembly import assemble
from lienzo.data.art_sources import SOURCES, Source
from lienzo.data.packages import PACKAGES, PackageMissing, locate
from lienzo.data.pictures import require_resvg
from lienzo.data.rendering import render_source

VERSION = 2


def build_art(directory: Path, sources: Sequence[str], packages: Path, fetch: bool, workers: int) -> Iterator[Event]:
    """Build the corpus into `directory`; a source that was drawn before is not drawn again.

    Args:
        directory: gets ``shards/SIZE/SOURCE-SPLIT-00000.tar``, ``manifest.json``, ``CREDITS.md`` and
            ``contact_sheet.png``; while it is being built also ``rendered/``.
        sources: rows of `SOURCES`; one whose packages cannot be had is left out with a warning.
        packages: folder in which package files are looked for and, with `fetch`, saved.
        fetch: let npm and apt-get download what is missing.
        workers: processes that draw.

    Raises:
        BadInput: a name is unknown, resvg is missing, a package is not the one that was pinned, or no source at
            all could be had.
    """
    sources = list(dict.fromkeys(sources))
    unknown = [name for name in sources if name not in SOURCES]
    if unknown:
        raise BadInput(f"There is no source '{unknown[0]}'; there are {', '.join(SOURCES)}.")
    if _is_finished(directory, build_id(sources)):
        yield Note(f"The corpus in {directory} is complete; nothing is to be done.")
        return
    if any(SOURCES[name].needs_resvg for name in sources):
        require_resvg()
    rendered = directory / "rendered"
    rendered.mkdir(parents=True, exist_ok=True)
    packages.mkdir(parents=True, exist_ok=True)
    ready: dict[str, Path] = {}
    for name in sources:
        target = rendered / f"{name}-{build_id([name])}.tar"
        if target.is_file():
            yield Note(f"{name} was drawn before.")
        else:
            yield from _render(name, SOURCES[name], target, packages, fetch, workers)
        if target.is_file():
            ready[name] = target
    if not ready:
        raise BadInput(f"None of the packages could be had; put them into {packages} or let npm and apt-get run.")
    yield from assemble(directory, ready, build_id(list(ready)))
    if len(ready) == len(sources):
        shutil.rmtree(rendered)


def build_id(sources: Sequence[str]) -> str:
    """Twelve hexadecimal digits that change with the version of this recipe, the sources and their packages."""
    hashes = [PACKAGES[package].sha256 for name in sources for package in SOURCES[name].packages]
    return hashlib.sha256(json.dumps([VERSION, *sources, *hashes]).encode()).hexdigest()[:12]


def _is_finished(directory: Path, build: str) -> bool:
    manifest = directory / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")).get("build") == build


def _render(name: str, source: Source, target: Path, packages: Path, fetch: bool, workers: int) -> Iterator[Event]:
    yield Progress(name, 0, 1, 0.0, "picture")
    try:
        files = {package: locate(PACKAGES[package], packages, fetch) for package in source.packages}
    except PackageMissing as error:
        yield Note(f"{name} is left out. {error}", "warning")
        return
    for event in render_source(name, target, source.read(files), workers):
        if not isinstance(event, dict):
            yield event
        elif event:
            slug, reason = next(iter(event.items()))
            yield Note(f"{name}: {len(event)} drawings are left out; {slug}: {reason}.")
