"""The verb on the CLIPs of the tiny home, through the command line's own screen."""

from __future__ import annotations

from pathlib import Path

from colour_clip import paint

from lienzo.core.events import Table
from lienzo.tasks.classify import Classify, run


def test_a_real_embedder_answers(tmp_path: Path) -> None:
    paint(tmp_path / "set", "red", 2)
    events = list(
        run(Classify.make(paths=(str(tmp_path / "set"),), labels="red,blue", clip="guide", templates="imagenet"))
    )
    (table,) = (event for event in events if isinstance(event, Table))
    assert len(table.rows) == 2
    assert all(abs(float(row[2]) + float(row[4]) - 1) < 2e-4 for row in table.rows)
