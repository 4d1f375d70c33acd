"""A task run without the command line's packages: options, events as JSON lines, exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Preview, Progress
from lienzo.core.options import Options
from lienzo.tasks.plain_command import run_plainly


class Bake(Options):
    """Bake 100 % bread."""

    flour: Path = Field(json_schema_extra={"positional": True})
    """What to bake."""
    minutes: float | None = Field(None, gt=0)
    """How long."""
    seeds: tuple[int, ...] = (1,)
    """Which."""
    salt_it: bool = True
    """With salt, 2 %."""


def bake(options: Bake) -> Iterator[Event]:
    if options.flour.name == "none":
        raise BadInput("There is no flour.")
    if options.flour.name == "burnt":
        raise KeyboardInterrupt
    for done in range(1, 100):
        yield Progress("bake", done, 99)
        yield Metric("heat", done, images_seen=done)
        yield Preview(0, done, np.zeros((1, 1, 3), np.uint8))
    yield Note(options.model_dump_json())


def test_options_are_read_and_events_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_plainly(Bake, bake, ["rye", "--minutes", "2.5", "--seeds", "3", "4", "--no-salt-it"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert json.loads(events[-1]["text"]) == {"flour": "rye", "minutes": 2.5, "seeds": [3, 4], "salt_it": False}
    told = [(event["event"], event.get("done")) for event in events[:-1]]
    assert told == [("progress", 1), ("metric", None), ("progress", 99)], "the first, and the end; no previews"


def test_defaults_stay_where_nothing_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    run_plainly(Bake, bake, ["rye"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads(last["text"]) == {"flour": "rye", "minutes": None, "seeds": [1], "salt_it": True}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["none"], 2, "There is no flour."),
        (["burnt"], 130, "Cancelled."),
        (["rye", "--minutes", "-1"], 2, "Option 'minutes' was '-1'; it should be greater than 0."),
    ],
)
def test_wrong_input_is_a_sentence(
    arguments: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_plainly(Bake, bake, arguments) == code
    assert capsys.readouterr().err == sentence + "\n"


def test_help_tells_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_plainly(Bake, bake, ["--help"])
    text = capsys.readouterr().out
    assert left.value.code == 0
    for word in ("100 % bread", "--minutes", "--no-salt-it", "2 %", "What to bake."):
        assert word in text
