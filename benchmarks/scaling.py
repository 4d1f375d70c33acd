"""One process against two on one machine: images a second of the same training, started by torchrun.

    python benchmarks/scaling.py --data FOLDER [--seconds 60] [--batch 32] -- [flags of lienzo train diffusion]

Every process computes with one thread, so the ratio says what a second core or GPU buys. Both runs are repeated in
turn (1, 2, 1, 2) so that other load hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def pace(processes: int, arguments: argparse.Namespace, flags: list[str]) -> float:
    """Images a second of all processes together, once the first five seconds are over."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m", "lienzo"]
        command = [sys.executable, "-m", *launcher, "train", "diffusion", "--data", arguments.data, "--out", folder]
        command += ["--minutes", str(arguments.seconds / 60), "--images", "100000000", "--batch", str(arguments.batch)]
        command += ["--save-seconds", "100000", "--quiet", *flags]
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    steady = [line for line in lines if line.get("seconds", 0) > 5]
    first, last = steady[0], steady[-1]
    return (last["images_seen"] - first["images_seen"]) / (last["seconds"] - first["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    arguments, flags = parser.parse_known_args()
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(arguments.repeats):
        for processes, paces in found.items():
            paces.append(pace(processes, arguments, [flag for flag in flags if flag != "--"]))
            print(f"{processes} process{'es' * (processes > 1)}: {paces[-1]:.1f} images/s", flush=True)
    one, two = (statistics.median(paces) for paces in found.values())
    print(f"median: {one:.1f} and {two:.1f} images/s; two processes are {two / one:.2f} times as fast as one")


if __name__ == "__main__":
    main()
