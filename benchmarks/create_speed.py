"""`lienzo create "a red apple" --seed 0` with its default options: seconds and peak memory.

Each run is a fresh process, offline, in an empty folder and with an empty user store, so that the bundled models
paint. The process does what the `lienzo` command does, with a clock started once torch and the task are imported.
There is no peer; the promise is under 20 s in all and under 2 GB on a laptop's CPU. Exit code 1 when it is broken.

It takes about a minute. Processor seconds, over all cores, tell a busy machine from slow code.
They and the peak memory are read from the system's accounts of the process (Linux, macOS).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

SECONDS, GIGABYTES = 20.0, 2.0
PROMPT = "a red apple"
CLOCK = "seconds after import:"
CHILD = f"""
import sys, time
import lienzo.cli.main, lienzo.tasks.easel, lienzo.tasks.engines.painter
began = time.perf_counter()
try:
    lienzo.cli.main.main(sys.argv[1:])
finally:
    print("{CLOCK}", time.perf_counter() - began, file=sys.stderr)
"""


@dataclass(frozen=True)
class Run:
    """What one process took: seconds in all, after its imports, and of the processor; peak memory in 10^9 bytes."""

    total: float
    after_import: float
    processor: float
    memory: float


def run_once(folder: Path, arguments: list[str], home: Path) -> Run:
    """One process in `folder`; ends the benchmark with the process's own words if it fails or leaves no picture."""
    command = [sys.executable, "-c", CHILD, "create", *arguments]
    errors = folder / "errors.txt"
    began = time.perf_counter()
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | {"LIENZO_HOME": str(home)}, stdout=subprocess.DEVNULL, stderr=stderr
        )
        _, status, usage = os.wait4(process.pid, 0)
    total = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    said = errors.read_text(errors="replace")
    if process.returncode or not (folder / "picture.png").is_file():
        sys.exit(f"lienzo create failed (exit code {process.returncode}):\n{said}")
    after_import = float(said.rpartition(CLOCK)[2])
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    return Run(total, after_import, usage.ru_utime + usage.ru_stime, memory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--models", type=Path, help="folder of models in place of the bundled ones")
    given = parser.parse_args()
    runs = []
    for number in range(given.runs):
        with tempfile.TemporaryDirectory() as name:
            folder, home = Path(name), Path(name) / "home"
            home.mkdir()
            if given.models:
                (home / "models").symlink_to(given.models.resolve(), target_is_directory=True)
            runs.append(run_once(folder, [PROMPT, "--seed", "0"], home))
        print(
            f"run {number + 1}: {runs[-1].total:.1f} s in all, {runs[-1].after_import:.1f} s after import", flush=True
        )
    rows = [
        ("seconds in all", [run.total for run in runs], SECONDS),
        ("seconds after import", [run.after_import for run in runs], SECONDS),
        ("processor seconds", [run.processor for run in runs], None),
        ("peak memory, GB", [run.memory for run in runs], GIGABYTES),
    ]
    print(f"\n{'':22}{'median':>8}{'worst':>8}{'promise':>9}")
    for label, values, promise in rows:
        print(f"{label:22}{median(values):8.2f}{max(values):8.2f}{f'< {promise:g}' if promise else '':>9}")
    kept = all(promise is None or median(values) < promise for _, values, promise in rows)
    print("The promise is kept." if kept else "The promise is BROKEN.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
