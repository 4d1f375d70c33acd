"""Events on a terminal: bars with pace and time left, notes, tables, previews; or one JSON line an event."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from lienzo.core.events import Checkpoint, Event, Metric, Note, Picture, Preview, Progress, Table, to_json
from lienzo.core.text import printable

LOG_SECONDS = 30  # between two lines of a training without a terminal


def print_json(events: Iterator[Event], out: TextIO) -> None:
    """One JSON object a line in plain ASCII, flushed at once."""
    for event in events:
        out.write(json.dumps(to_json(event), default=str) + "\n")
        out.flush()


def print_plain(events: Iterator[Event], out: TextIO) -> None:
    """Results only: picture paths, tables and figures; warnings go to standard error."""
    for event in events:
        line = result_line(event)
        if line:
            print(line, file=out, flush=True)
        elif isinstance(event, Note) and event.level == "warning":
            print(printable(event.text), file=sys.stderr)  # noqa: T201


def is_loss(event: Event) -> bool:
    """Whether it is a figure of training itself; those on withheld data have a protocol in brackets."""
    return isinstance(event, Metric) and event.images_seen is not None and "[" not in event.name


def result_line(event: Event) -> str:
    """A result in plain text without control characters; empty for events that are not results."""
    if is_loss(event):
        return ""
    if isinstance(event, Picture) and event.path:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in event.scores.items())
        return f"{printable(event.path)}  (seed {event.seed}{', ' + scores if scores else ''})"
    if isinstance(event, Metric):
        spread = f"  ({event.interval[0]:.4g} to {event.interval[1]:.4g})" if event.interval else ""
        return f"{printable(event.name)}{f'[{event.protocol}]' if event.protocol else ''} {event.value:.4g}{spread}"
    if isinstance(event, Table):
        rows = [[printable(cell) for cell in row] for row in (event.columns, *event.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(event.columns))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
    return ""


class Live:
    """A rich display on standard error; results go to standard output so that they can be piped.

    Losses of a training stand beside its bar. Where there is no terminal, as in a log file, a line tells of them and
    of the pace every half minute.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.console = Console(stderr=True, emoji=False, soft_wrap=True)
        self.out = Console(soft_wrap=True, highlight=False, emoji=False)
        self.bars = Bars(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[figures]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.tasks: dict[str, Any] = {}
        self.figures: dict[str, float] = {}
        self.logged = float("-inf")

    def __call__(self, events: Iterator[Event]) -> None:
        with self.bars:
            for event in events:
                self.show(event)

    def show(self, event: Event) -> None:
        """Draw one event."""
        if isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Preview):
            self._preview(event)
        elif isinstance(event, Note):
            colour = "yellow" if event.level == "warning" else "dim"
            self.bars.print(f"[{colour}]{_safe(event.text)}[/]")
        elif isinstance(event, Checkpoint):
            self.bars.print(f"[dim]saved {_safe(event.path)} after {event.images_seen} items[/]")
        elif isinstance(event, Table) and self.out.is_terminal:
            self._table(event)
        elif isinstance(event, Metric) and event.images_seen is not None:
            if is_loss(event):
                self.figures[event.name] = event.value
            else:
                self.bars.print(f"[dim]{event.images_seen:>9} {_safe(event.name)} {event.value:.4f}[/]")
        elif line := result_line(event):
            self._result(_safe(line))

    def _progress(self, event: Progress) -> None:
        pace = event.seconds_per_unit
        text = f"{1 / pace:.0f} {event.unit}s/s" if 0 < pace < 0.1 else f"{pace:.2f} s/{event.unit}"
        figures = ", ".join(f"{_safe(name)} {value:.4f}" for name, value in self.figures.items())
        if event.stage not in self.tasks:
            self.tasks[event.stage] = self.bars.add_task(event.stage, total=event.total, pace=text, figures=figures)
        self.bars.update(self.tasks[event.stage], completed=event.done, total=event.total, pace=text, figures=figures)
        if figures and not self.console.is_terminal and time.monotonic() - self.logged >= LOG_SECONDS:
            self.logged = time.monotonic()
            left = f"{event.eta / 60:.0f} minutes left"
            self.console.print(f"{_safe(event.stage)} {event.done} of {event.total}, {figures}, {text}, {left}")

    def _preview(self, event: Preview) -> None:
        from lienzo.imaging.terminal import show_inline

        if sys.stderr.isatty():
            show_inline(event.image, sys.stderr)

    def _table(self, event: Table) -> None:
        from rich.table import Table as Grid

        title = _safe(event.title) or None
        grid = Grid(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
        for column in event.columns:
            grid.add_column(_safe(column))
        for row in event.rows:
            grid.add_row(*(_safe(cell) for cell in row))
        self._result(grid)

    def _result(self, what: Any) -> None:
        """Print on standard output; bars that share its terminal make way, for their line has no end."""
        shares = self.out.is_terminal and self.console.is_terminal
        if shares:
            self.bars.stop()
        self.out.print(what)
        if shares:
            self.bars.start()


def _safe(text: str) -> str:
    """Text without control characters and with rich's brackets escaped: prompts and file names are data."""
    from rich.markup import escape

    return escape("\n".join(printable(line) for line in text.split("\n")))
