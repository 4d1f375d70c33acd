"""The display on a terminal: bars, tables, notes and previews, with every text escaped."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lienzo.cli.screen import Live, print_json, print_plain, result_line
from lienzo.core.events import Checkpoint, Event, Metric, Note, Picture, Preview, Progress, Table

IMAGE = np.zeros((4, 4, 3), np.uint8)
NASTY = "[red]\x1b[31m[/] [/bold] :smiley:\n\x9b\u202e"
SHOWN = "[red][31m[/] [/bold] :smiley:"
EVENTS: list[Event] = [
    Progress("paint", 1, 2, 0.5),
    Progress("paint", 2, 2, 0.001),
    Preview(0, 0, IMAGE),
    Note(NASTY),
    Note(NASTY, "warning"),
    Checkpoint(NASTY, 7),
    Metric(NASTY, 1.5, images_seen=3),
    Metric("psnr", float("inf"), "rgb"),
    Table(NASTY, (NASTY, "b"), ((NASTY, "x" * 200), ("c", "d"))),
    Picture(0, 1, IMAGE, NASTY, {"clip": 0.5}),
]


class Terminal(Console):
    """A terminal that keeps what it is sent."""

    def __init__(self, *, stderr: bool = False, **options: Any):
        super().__init__(file=io.StringIO(), force_terminal=True, width=100, **options)

    @property
    def sent(self) -> str:
        return self.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.setattr("rich.console.Console", Terminal)
    return Live()


def test_every_event_on_a_terminal(terminal: Live) -> None:
    terminal(iter(EVENTS))
    out, err = terminal.out.sent, terminal.console.sent  # type: ignore[attr-defined]
    for text in (out, err):
        assert SHOWN in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
        assert not set(text) & set("\x9b\u202e")
        assert "\x1b[31m" not in text
    assert "paint" in err
    assert "inf" in out


def test_losses_stand_beside_the_bar_and_results_below_each_other(terminal: Live) -> None:
    """Two losses a second would push everything else off the screen; a result must not be glued to a bar's line."""
    steps: list[Event] = []
    for i in range(1, 41):
        steps += [Progress("adm", i, 40, i / 10, "image"), Metric("mse", 1 / i, images_seen=i)]
    terminal(iter([*steps, Metric("mse[withheld]", 0.5, images_seen=40), Picture(40, 0, IMAGE, "sheet.png")]))
    err = terminal.console.sent  # type: ignore[attr-defined]
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in re.split(r"[\r\n]", err)]
    assert not [line for line in lines if re.match(r"\d+ mse ", line)]
    assert [line for line in lines if "mse 0.0256" in line and "adm" in line]
    assert "40 mse[withheld] 0.5000" in lines
    assert err.index("withheld") < err.rindex("\x1b[2K")  # the bar was wiped off for the result


def test_a_log_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr("lienzo.cli.screen.time.monotonic", lambda: next(clock))
    steps: list[Event] = []
    for i in range(1, 41):
        steps += [Metric("mse", 1 / i, images_seen=i), Progress("adm", i, 4000, i / 10, "image")]
    note = Note("x" * 200)
    Live()(iter([*steps, note]))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "adm 1 of 4000, mse 1.0000, 0.10 s/image, 7 minutes left"
    assert 5 < len(lines) < 25
    assert lines[-1] == note.text  # not broken at a width that nobody has


def test_notes_and_bars_do_not_reach_standard_output(terminal: Live) -> None:
    terminal(iter([Note("a note"), Progress("paint", 1, 2), Checkpoint("x", 1)]))
    assert terminal.out.sent == ""  # type: ignore[attr-defined]


def test_without_a_terminal_there_are_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    Live()(iter([Progress("paint", 1, 2), Progress("paint", 2, 2), Picture(0, 5, IMAGE, "a.png")]))
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == "a.png  (seed 5)\n"


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    print_plain(iter(EVENTS), out)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "[red][31m[/] [/bold] :smiley: \n"  # the warning only
    assert not set(out.getvalue()) & set("\x1b\x9b\u202e")
    assert len(out.getvalue().splitlines()) == 6  # two metrics, a head and two rows, a picture


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Metric("psnr", 30.12345, "rgb"), "psnr[rgb] 30.12"),
        (Metric("n", 3), "n 3"),
        (Metric("mse[withheld]", 3, images_seen=8), "mse[withheld] 3"),
        (Metric("mse", 3, images_seen=8), ""),
        (Picture(0, 5, IMAGE, "a.png", {"clip": 0.25}), "a.png  (seed 5, clip 0.250)"),
        (Picture(0, 5, IMAGE), ""),
        (Table("t", ("a", "bb"), (("ccc", "d"),)), "a    bb\nccc  d"),
        (Table("t", ("a", "b"), ()), "a  b"),
        (Note("x"), ""),
        (Progress("x", 1, 2), ""),
    ],
)
def test_result_lines(event: Event, line: str) -> None:
    assert result_line(event) == line


def test_json_lines_come_at_once() -> None:
    class Out(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    out = Out()
    print_json(iter(EVENTS), out)
    assert out.flushed == len(EVENTS)
    assert out.getvalue().count("\n") == len(EVENTS)
    assert out.getvalue().isascii()
