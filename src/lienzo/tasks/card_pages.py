"""The card as people read it: a page a model, a page that compares all, and the files beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lienzo import __version__
from lienzo.core.errors import BadInput
from lienzo.core.events import Table
from lienzo.core.files import replacing
from lienzo.core.text import printable
from lienzo.metrics.protocol import Protocol
from lienzo.tasks.card_file import (
    COLUMN,
    COLUMNS,
    VERSION,
    CardFile,
    Column,
    Corner,
    Entry,
    Figure,
    Real,
    write_card_file,
)
from lienzo.tasks.pareto_plot import PANELS, front, save_plot, why_no_plot

if TYPE_CHECKING:
    from collections.abc import Iterable

CORNERS: tuple[tuple[Corner, str], ...] = (
    ("quality", "Quality: how good one picture is"),
    ("coverage", "Coverage: how much of the real variety is drawn"),
    ("speed", "Speed: what a picture costs"),
)
SHEET_SIDE = 192  # pixels to which small samples are enlarged, by whole numbers


def publish(out: Path, real: Real, entries: Sequence[Entry]) -> None:
    """Write card.json, a page for each model, card.md, and pareto.png where matplotlib is at hand."""
    publish_figures(out, real, entries)
    for entry in entries:
        _write(out / f"{entry.label}.md", model_page(entry, real))
    plotted = why_no_plot() is None
    if plotted:
        save_plot(out / "pareto.png", entries, real)
    _write(out / "card.md", comparison_page(real, entries, plotted))


def publish_figures(out: Path, real: Real, entries: Sequence[Entry]) -> None:
    """Write card.json alone, so that what is measured is kept while the next model draws."""
    card = CardFile(version=VERSION, made_with=f"lienzo {__version__}", real=real, models=tuple(entries))
    write_card_file(out / "card.json", card)


def _write(path: Path, text: str) -> None:
    with replacing(path) as work:
        work.write_text(text, "utf-8")


def sheet_of(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """A contact sheet of the first pictures, uint8 (H, W, 3); small ones are shown larger, pixel by pixel."""
    from lienzo.imaging.grids import contact_sheet

    times = max(1, SHEET_SIDE // pictures[0].shape[0])
    large = [picture.repeat(times, 0).repeat(times, 1) for picture in pictures]
    return contact_sheet(large, list(captions))


def read_samples(folder: Path, entry: Entry) -> np.ndarray | None:
    """The sample sheet that lies beside an earlier card, or None where it is gone."""
    from lienzo.imaging.reading import load_picture

    if not entry.samples:
        return None
    try:
        return load_picture(folder / entry.samples)
    except BadInput:
        return None


def write_samples(out: Path, entry: Entry, sheet: np.ndarray | None) -> Entry:
    """Save the sheet under the model's label; returns the entry that names it."""
    from lienzo.imaging.writing import save_picture

    name = "" if sheet is None else f"{entry.label}.png"
    if sheet is not None:
        save_picture(sheet, out / name, exist_ok=True)
    return entry.model_copy(update={"samples": name})


def shown(name: str, value: float) -> str:
    """A value as people read it."""
    if name == "parameters":
        return f"{value / 1e6:.3g} M"
    if name in ("modes_hit", "evaluations"):
        return f"{value:g}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shown_value(figure: Figure) -> str:
    """A figure's value as people read it; of classes hit, out of how many."""
    value = shown(figure.name, figure.value)
    return f"{value} of {Protocol.parse(figure.protocol)['classes']}" if figure.name == "modes_hit" else value


def shown_interval(figure: Figure) -> str:
    """An interval as people read it, or nothing."""
    if figure.interval is None:
        return ""
    low, high = (shown(figure.name, end) for end in figure.interval)
    return f"{low} to {high}"


def best_of(column: Column, entries: Iterable[Entry]) -> dict[str, str]:
    """Label to mark: `best`, or `near` where the interval meets the best one's. Empty with fewer than two models."""
    figures = {entry.label: figure for entry in entries if (figure := entry.figure(column.name)) is not None}
    if len(figures) < 2:
        return {}
    values = [figure.value for figure in figures.values()]
    best = min(values) if column.better == "low" else max(values)
    marks = {label: "best" for label, figure in figures.items() if figure.value == best}
    for label, figure in figures.items():
        if label not in marks and any(_meet(figure, figures[other]) for other in list(marks)):
            marks[label] = "near"
    return marks


def _meet(a: Figure, b: Figure) -> bool:
    if a.interval is None or b.interval is None:
        return False
    return a.interval[0] <= b.interval[1] and b.interval[0] <= a.interval[1]


def model_page(entry: Entry, real: Real) -> str:
    """The model card as Markdown."""
    facts = entry.facts
    lines = [f"# {_text(facts.title or entry.label)}", ""]
    if facts.description:
        lines += [_text(facts.description), ""]
    settings = ", ".join(f"{key} {value}" for key, value in entry.settings.items())
    rows = [
        ("name", entry.label),
        ("network", entry.network),
        ("licence of the weights", facts.licence or "not stated in the file"),
        ("learned from", "; ".join(facts.training_data) or "not stated in the file"),
        ("made with", facts.made_with or "not stated in the file"),
        ("files", ", ".join(entry.files)),
        ("sha256", entry.sha256),
        ("measured with", settings),
    ]
    lines += ["| | |", "|---|---|", *(f"| {key} | {_cell(value)} |" for key, value in rows), ""]
    lines += ["## Limits", "", _text(facts.limits) if facts.limits else "The file states none.", ""]
    lines += ["## Figures", "", f"Against {_real(real)}. {_drew(entry)}", ""]
    for corner, heading in CORNERS:
        lines += _figure_rows(entry, corner, heading)
    if entry.samples:
        lines += ["## Samples", "", "The first pictures, none chosen.", "", f"![samples]({entry.samples})", ""]
    lines += ["## Measure again", "", "```sh", entry.command, "```", ""]
    return "\n".join(lines)


def _figure_rows(entry: Entry, corner: Corner, heading: str) -> list[str]:
    found = [(column, entry.figure(column.name)) for column in COLUMNS if column.corner == corner]
    rows, notes = [], []
    for column, figure in found:
        if figure is None:
            continue
        spread = shown_interval(figure)
        rows.append(
            f"| {column.heading} ({'lower' if column.better == 'low' else 'higher'} is better) "
            f"| {shown_value(figure)} | {spread} | `{_cell(figure.protocol)}` |"
        )
        notes += [f"* {column.heading}: {_text(note)}" for note in figure.notes]
    if not rows:
        return []
    spread = "lowest to highest" if corner == "speed" else "95 % interval"
    head = [f"### {heading}", "", f"| figure | value | {spread} | protocol |", "|---|---|---|---|"]
    return [*head, *rows, "", *notes, *([""] if notes else [])]


def comparison_page(real: Real, entries: Sequence[Entry], plotted: bool) -> str:
    """All models side by side as Markdown."""
    lines = ["# Quality, coverage, speed", "", f"{_counted(len(entries))} measured against {_real(real)}.", ""]
    if plotted:
        lines += ["![Pareto fronts](pareto.png)", ""]
    if len(entries) > 1:
        lines += ["The best of each column is **bold**; ≈ marks those whose interval meets the best one's.", ""]
    for corner, heading in CORNERS:
        lines += _comparison_rows(real, entries, corner, heading)
    lines += _fronts(entries)
    lines += ["## What each model drew", "", *(f"* {entry.label}: {_drew(entry)}" for entry in entries), ""]
    lines += ["## How each figure was measured", ""]
    for column in COLUMNS:
        figure = next((found for entry in entries if (found := entry.figure(column.name)) is not None), None)
        if figure is not None:
            lines.append(f"* {column.heading}: {column.meaning}. `{figure.protocol}`")
    return "\n".join([*lines, ""])


def _comparison_rows(real: Real, entries: Sequence[Entry], corner: Corner, heading: str) -> list[str]:
    columns = [c for c in COLUMNS if c.corner == corner and any(entry.figure(c.name) for entry in entries)]
    marks = {column.name: best_of(column, entries) for column in columns}
    heads = [f"{column.heading} {'↓' if column.better == 'low' else '↑'}" for column in columns]
    lines = [f"## {heading}", "", f"| model | {' | '.join(heads)} |", "|---" * (len(columns) + 1) + "|"]
    for entry in entries:
        cells = [_marked(entry.figure(c.name), marks[c.name].get(entry.label, "")) for c in columns]
        lines.append(f"| [{entry.label}]({entry.label}.md) | {' | '.join(cells)} |")
    if any(real.figure(column.name) for column in columns):
        cells = [_marked(real.figure(column.name), "") for column in columns]
        lines.append(f"| *as many other real pictures* | {' | '.join(cells)} |")
    return [*lines, ""]


def _marked(figure: Figure | None, mark: str) -> str:
    if figure is None:
        return "–"
    value, spread = shown_value(figure), shown_interval(figure)
    told = f"**{value}**" if mark == "best" else f"{value} ≈" if mark == "near" else value
    return f"{told} ({spread})" if spread else told


def _fronts(entries: Sequence[Entry]) -> list[str]:
    """Which models no other beats in both figures of a panel."""
    lines = ["## Pareto fronts", "", "On a front no other model is at least as good in both and better in one.", ""]
    for panel in PANELS:
        on = front(entries, panel)
        if on:
            x, y = COLUMN[panel.x].heading, COLUMN[panel.y].heading
            lines.append(f"* {panel.title} ({y} and {x}): {', '.join(on)}")
    return [*lines, ""]


def overview(entries: Sequence[Entry]) -> Table:
    """The main figures of all models for the screen; `*` marks the best."""
    names = ("fid", "kid", "precision", "recall", "coverage", "modes_hit", "seconds_1", "evaluations", "peak_mb_1")
    columns = [COLUMN[name] for name in names if any(entry.figure(name) for entry in entries)]
    marks = {column.name: best_of(column, entries) for column in columns}
    rows = []
    for entry in entries:
        cells = [entry.label]
        for column in columns:
            figure = entry.figure(column.name)
            star = "*" if marks[column.name].get(entry.label) == "best" else ""
            cells.append("" if figure is None else f"{shown_value(figure)}{star}")
        rows.append(tuple(cells))
    heads = ("model", *(f"{column.heading} {'↓' if column.better == 'low' else '↑'}" for column in columns))
    return Table("Quality, coverage, speed", heads, tuple(rows))


def _real(real: Real) -> str:
    classes = f" of {len(real.classes)} counted classes" if real.classes else ""
    return f"{real.pictures} real pictures{classes} from `{printable(real.given, 200)}` (digest {real.digest})"


def _drew(entry: Entry) -> str:
    kind, _, digest = entry.prompts.partition(":")
    told = {
        "captions": f"It drew the real pictures' captions (digest {digest}).",
        "classes": f"It drew the real pictures' classes (digest {digest}).",
        "file": f"It drew the lines of a file (digest {digest}).",
    }
    return told.get(kind, "It reads no prompts.")


def _counted(count: int) -> str:
    return "One model" if count == 1 else f"{count} models"


def _text(text: str) -> str:
    """Foreign text in a page: no markup of its own."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in printable(text, 2000))


def _cell(text: str) -> str:
    return printable(text, 2000).replace("|", "\\|")
