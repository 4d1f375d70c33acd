"""How long `lienzo --help` takes, against `pip --version` as a command that nobody calls slow.

Ten runs of each in turns, in fresh processes of the same Python; medians and their ratio. The promise: at most 1.5
times as long as pip. Exit code 1 when it is broken. It takes about 10 seconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

PROMISED_RATIO = 1.5
COMMANDS = {"lienzo --help": ["lienzo", "--help"], "pip --version": ["pip", "--version"]}


def seconds(arguments: list[str]) -> float:
    """Wall seconds of `python -m ...`; ends the benchmark with the command's own words if it fails."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed (exit code {done.returncode}):\n{done.stderr}")
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    for arguments in COMMANDS.values():
        seconds(arguments)  # so that both are compiled and in the disk's cache
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(given.runs):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    print(f"{'':16}{'median s':>10}{'fastest':>10}{'slowest':>10}")
    for name, row in times.items():
        print(f"{name:16}{median(row):10.3f}{min(row):10.3f}{max(row):10.3f}")
    ours, theirs = (median(row) for row in times.values())
    print(f"ratio {ours / theirs:.2f} (promise: at most {PROMISED_RATIO:g})")
    kept = ours <= PROMISED_RATIO * theirs
    print("The promise is kept." if kept else "The promise is BROKEN.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
