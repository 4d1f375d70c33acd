"""kill -9 at random moments loses nothing that was acknowledged; two processes at once double nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from hostile_folder import FreeEmbedder, encoded
from index_crashes import crash, start

from lienzo.search.catalogue import Catalogue
from lienzo.search.catalogue_file import FILE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def test_killed_at_random_moments(tmp_path: Path) -> None:
    report = crash(tmp_path / "crashes", kills=8, seed=int.from_bytes(os.urandom(4), "big"))
    assert report.problems == []
    assert report.kills == 8
    assert report.acknowledged > 100
    assert set(report.during) - {"start"}, "no kill hit the work"


def test_two_processes_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for number in range(90):
        path = folder / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(number % 80))  # ten contents are there twice
    runs = [start(tmp_path / "index", folder, tmp_path / f"log {n}") for n in range(2)]
    runs.append(start(tmp_path / "index", folder / "1", tmp_path / "log 3"))  # becomes a root of its own meanwhile
    assert [(run.communicate(timeout=60)[0].split()[-1], run.returncode) for run in runs] == [("done", 0)] * 3
    with Catalogue.open(tmp_path / "index") as catalogue:
        items = catalogue.items(catalogue.ids())
        assert sorted(item.path for item in items) == sorted(folder.rglob("*.png"))
        assert catalogue.tags() == {FreeEmbedder.tag: 90}
        assert [(root.path, root.items) for root in catalogue.roots()] == [(folder, 60), (folder / "1", 30)]
    file = sqlite3.connect(tmp_path / "index" / FILE)
    assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    file.close()


def test_ctrl_c_between_batches_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.png").write_bytes(encoded(number))
    process = start(tmp_path / "index", folder, tmp_path / "log")
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(5)]
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=60)[0].split()
    committed = said.count("index") + said.count("delete") - 1  # the first says that it begins
    with Catalogue.open(tmp_path / "index") as catalogue:
        assert catalogue.count() >= min(3 * committed, 60) >= 9
        assert catalogue.tags()[FreeEmbedder.tag] == catalogue.count()
