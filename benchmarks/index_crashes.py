"""An index survives `kill -9`: a process that indexes is killed at random moments, many times over.

    python benchmarks/index_crashes.py --kills 50

Between two kills pictures are added, deleted, moved, changed and broken; the process brings the index up to date and
then makes the search cache anew. After each commit it writes what it was promised to a log. After each kill:

* SQLite's own integrity check passes, and no foreign key dangles;
* every picture that the log has and that is still on the disk is in the index, with its id and its vector;
* the search cache, whatever the kill left of it, finds what the index holds.

At the end one run that is not killed must leave exactly what is on the disk. Exit code 1 when anything is wrong. It
takes half a minute for 50.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hostile_folder import FreeEmbedder, encoded

from lienzo.core.events import Progress
from lienzo.search.catalogue import Catalogue
from lienzo.search.catalogue_file import FILE
from lienzo.search.exact import ExactStore
from lienzo.search.follow import Follower
from lienzo.search.indexing import index_folders

BATCH = 3


@dataclass
class Report:
    """What happened; `problems` is empty when every promise was kept."""

    kills: int = 0
    during: dict[str, int] = field(default_factory=dict)
    """Kills by what the process was doing."""
    acknowledged: int = 0
    problems: list[str] = field(default_factory=list)


def child(index: Path, folder: Path, log: Path) -> None:
    """Index, log what is promised after each commit, make the cache anew; say on standard output where it is."""
    promised: set[tuple[int, str, str]] = set()
    with Catalogue.open(index, create=True) as catalogue, open(log, "a") as file:
        print("index", flush=True)
        for event in index_folders(catalogue, FreeEmbedder(), [folder], batch=BATCH, workers=2):
            if isinstance(event, Progress) and event.stage == "index":
                items = catalogue.items(catalogue.ids())
                now = {(item.id, str(item.path), item.sha256) for item in items}
                file.write(json.dumps(sorted(now - promised)) + "\n")
                file.flush()
                os.fsync(file.fileno())
                promised |= now
                print("index" if event.done < event.total else "delete", flush=True)
            elif isinstance(event, Progress):
                print("look", flush=True)
        print("cache", flush=True)
        source = catalogue.source(FreeEmbedder.tag)
        for _ in range(5):
            ExactStore(source.dim, index / "exact").rebuild(source)
    print("done", flush=True)


def start(index: Path, folder: Path, log: Path) -> subprocess.Popen[str]:
    """A process that runs `child`."""
    command = [sys.executable, __file__, "--child", str(index), str(folder), str(log)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def disturb(folder: Path, rng: random.Random, turn: int) -> None:
    """Add, delete, move, change and break pictures."""
    paths = sorted(folder.rglob("*.png"))
    rng.shuffle(paths)
    for path in paths[:6]:
        path.unlink()
    for number, path in enumerate(paths[6:9]):
        path.rename(folder / f"{turn} moved {number}.png")
    for number, path in enumerate(paths[9:12]):
        path.write_bytes(encoded(turn * 1000 + 500 + number))
    for path in paths[12:13]:
        path.write_bytes(b"broken")
    inner = folder / f"turn {turn % 5}"
    inner.mkdir(exist_ok=True)
    for number in range(18):
        (inner / f"{turn} {number}.png").write_bytes(encoded(turn * 1000 + number))


def check(index: Path, log: Path, report: Report) -> None:
    """Compare the index with what was promised."""
    file = sqlite3.connect(index / FILE)
    integrity = [row[0] for row in file.execute("PRAGMA integrity_check")]
    if integrity != ["ok"] or file.execute("PRAGMA foreign_key_check").fetchall():
        report.problems.append(f"kill {report.kills}: integrity {integrity[:3]}")
    file.close()
    latest: dict[str, tuple[int, str]] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            latest.update({path: (number, sha) for number, path, sha in json.loads(line)})
        except ValueError:  # the line that was being written
            continue
    with Catalogue.open(index) as catalogue:
        for path, (number, sha) in latest.items():
            if not os.path.exists(path) or hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha:
                continue
            report.acknowledged += 1
            item = catalogue.find(path)
            if item is None or (item.id, item.sha256) != (number, sha):
                report.problems.append(f"kill {report.kills}: {path} was acknowledged and is {item}")
            elif catalogue.vector(number, FreeEmbedder.tag) is None:
                report.problems.append(f"kill {report.kills}: {path} has lost its vector")
        if FreeEmbedder.tag in catalogue.tags():
            _check_cache(catalogue, report)


def _check_cache(catalogue: Catalogue, report: Report) -> None:
    source = catalogue.source(FreeEmbedder.tag)
    store = Follower(source, ExactStore(source.dim, catalogue.folder / "exact"))
    for ids, vectors in source.parts():
        found, _ = store.search(vectors, 1)
        if not np.isin(found[:, 0], ids).all() or len(store) != source.count():
            report.problems.append(f"kill {report.kills}: the cache differs from the index")


def crash(place: Path, kills: int, seed: int = 0) -> Report:
    """Kill a process `kills` times in a folder that is made below `place`, and check after each."""
    rng, report = random.Random(seed), Report()
    folder, index, log = place / "pictures", place / "index", place / "log"
    folder.mkdir(parents=True)
    longest, turn = 0.3, 0
    while report.kills < kills and turn < 4 * kills:
        disturb(folder, rng, turn)
        process = start(index, folder, log)
        assert process.stdout is not None
        doing = process.stdout.readline().strip()
        aim = {3: "delete", 4: "cache"}.get(turn % 5)  # these take a moment only
        while aim and doing not in (aim, "done", ""):
            doing = process.stdout.readline().strip()
        time.sleep(rng.uniform(0, {None: longest, "delete": 0.004, "cache": 0.02}[aim]))
        process.send_signal(signal.SIGKILL)
        doing = [doing, *process.stdout.read().split()][-1] or "start"
        process.wait()
        process.stdout.close()
        if doing == "done":  # too late: it does not count
            longest *= 0.8
        else:
            report.during[doing] = report.during.get(doing, 0) + 1
            report.kills += 1
            longest *= 1.1
        turn += 1
        check(index, log, report)
    _finish(folder, index, log, report)
    return report


def _finish(folder: Path, index: Path, log: Path, report: Report) -> None:
    """One run that is not killed leaves exactly what is on the disk."""
    process = start(index, folder, log)
    process.communicate()
    if process.returncode:
        report.problems.append(f"the last run ended with {process.returncode}")
    check(index, log, report)
    there = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}
    with Catalogue.open(index) as catalogue:
        broken = {str(file.path) for file in catalogue.broken()}
        items = {str(item.path): item.sha256 for item in catalogue.items(catalogue.ids())}
        if items != {path: sha for path, sha in there.items() if path not in broken}:
            report.problems.append("after the last run the index is not what is on the disk")
        if catalogue.tags().get(FreeEmbedder.tag) != len(items):
            report.problems.append("after the last run vectors are missing")


def main() -> int:
    """Kill, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, type=Path, metavar=("INDEX", "FOLDER", "LOG"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return 0
    with tempfile.TemporaryDirectory() as place:
        report = crash(Path(os.path.realpath(place)) / "crashes", given.kills, given.seed)
    words = {"look": "listing files", "index": "adding", "delete": "deleting", "cache": "making the cache anew"}
    print(f"{report.kills} kills: {', '.join(f'{n} in {words.get(w, w)}' for w, n in report.during.items())}")
    print(f"{report.acknowledged} acknowledged pictures looked up, {len(report.problems)} problems")
    for problem in report.problems[:20]:
        print(f"  {problem}")
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
