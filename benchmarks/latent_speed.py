"""A step of Stable Diffusion's U-Net and the decoding of a picture on the CPU: Lienzo beside diffusers.

Both sides compute the same network with the same random weights (random weights multiply as trained ones do), which
travel in one safetensors file, from the same latents and text. Each side is a fresh process; they take turns, and the
medians over the rounds are compared. Loading is not timed, nor is a first run on small latents.

* **step**: one evaluation of the U-Net for a batch of 2, as classifier-free guidance needs it, at latents of
  `--latent` (64: a picture of 512 pixels), from the second step on, when Lienzo has read the text. Sizes: `tiny` (64
  channels at the first level) and `sd` (320 channels, the 860 million of Stable Diffusion 1). Lienzo packs the weights
  once, as for sampling.
* **decode**: one picture of `--pixels` by the autoencoder of Stable Diffusion 1. Its memory is the peak of the
  process's resident memory over what it held before (weights, libraries), which the kernel counts anew from there.

The sides are equal when the largest difference is at most 2e-5 of the largest value; with `--dtype bf16` the
difference is shown only. `--reference` computes the same in float64 too, with the network of diffusers, and shows how
far each side is from that; it takes minutes more, and 8 GB for a step of `sd`. Promises: a step at least 1.3 times as
fast, decoding in at most 0.8 times the memory.

diffusers lives in an environment of its own:

    python -m venv peer && peer/bin/pip install torch diffusers==0.42.* safetensors numpy &&
    python benchmarks/latent_speed.py --peer peer/bin/python

Exit code 1 when a promise is broken. Linux only. `sd` takes 4 GB of memory for one side, 3.5 GB of disk, and minutes;
`--sizes tiny --pixels 128 --rounds 1` is a look. On a busy machine compare processor seconds (`--by processor`), which
waiting does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

SIDES = ("lienzo", "diffusers")
SIZES = {"tiny": 64, "sd": 320}
DECODER = 128
PROMISED_FASTER, PROMISED_MEMORY, PROMISED_EQUAL = 1.3, 0.8, 2e-5

Rows = dict[str, dict[str, float]]


class Outcome(NamedTuple):
    """The medians of both sides, their largest difference, and that from float64 of each side, if it was asked for.

    Differences are shares of the largest value.
    """

    rows: Rows
    difference: float
    errors: dict[str, float]


def call(python: str, arguments: list[str], cores: int) -> str:
    """What the script of the sides prints; ends the benchmark with its own words if it fails."""
    command = [python, str(Path(__file__).with_name("latent_sides.py")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(cores)})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def compare(job: str, channels: int, latent: int, given: argparse.Namespace) -> Outcome:
    """Both sides in turns, then the reference if it is asked for."""
    pythons = {"lienzo": sys.executable, "diffusers": given.peer}
    rows: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        weights = Path(folder) / "weights.safetensors"
        shape = ["--channels", str(channels)]
        call(given.peer, ["make", job, str(weights), *shape], given.cores)
        options = [*shape, "--latent", str(latent), "--dtype", given.dtype, "--repeats", str(given.repeats)]
        for _ in range(given.rounds):
            for side in SIDES:
                out = ["--out", str(Path(folder) / f"{side}.npy")]
                printed = call(pythons[side], [side, job, str(weights), *options, *out], given.cores)
                rows[side].append(json.loads(printed.splitlines()[-1]))
        made = {side: np.load(Path(folder) / f"{side}.npy") for side in SIDES}
        errors = {}
        if given.reference:
            out = Path(folder) / "reference.npy"
            call(
                given.peer, ["reference", job, str(weights), *options, "--repeats", "1", "--out", str(out)], given.cores
            )
            errors = {side: distance(made[side], np.load(out)) for side in SIDES}
    best = {side: {key: median(row[key] for row in each) for key in each[0]} for side, each in rows.items()}
    return Outcome(best, distance(made["lienzo"], made["diffusers"]), errors)


def distance(made: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    return float(np.abs(made - wanted).max() / np.abs(wanted).max())


def show(title: str, outcome: Outcome) -> dict[str, float]:
    """Print the table of one comparison; the ratios diffusers / Lienzo."""
    rows = outcome.rows
    print(f"\n{title}; load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{'':12}" + "".join(f"{name:>10}" for name in ("seconds", "cpu s", "over MB", "peak MB")))
    for side, row in rows.items():
        cells = f"{row['wall']:10.3f}{row['processor']:10.3f}{row['over_mb']:10.0f}{row['peak_mb']:10.0f}"
        print(f"{side:12}{cells}")
    ratios = {key: value / rows["lienzo"][key] for key, value in rows["diffusers"].items()}
    print(
        f"Lienzo is {ratios['wall']:.2f} times as fast, {ratios['processor']:.2f} times by processor seconds, with "
        f"{1 / ratios['over_mb']:.2f} times the memory; largest difference {outcome.difference:.1e}"
    )
    for side, error in outcome.errors.items():
        print(f"{side} is {error:.1e} from float64")
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the Python that has diffusers")
    parser.add_argument(
        "--sizes", nargs="*", choices=SIZES, default=list(SIZES), help="U-Nets; name none for the decode alone"
    )
    parser.add_argument("--latent", type=int, default=64, help="side of the U-Net's latents")
    parser.add_argument("--pixels", type=int, default=512, help="side of the decoded picture; 0 for no decoding")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--reference", action="store_true", help="compare both sides with float64 too")
    parser.add_argument("--by", choices=["wall", "processor"], default="wall", help="seconds that the promise is about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="runs in each process, of which the fastest counts")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)), help="threads of each side")
    parser.add_argument("--folder", type=Path, help="where the weights are put for a while; 3.5 GB for sd")
    given = parser.parse_args()
    jobs = [("unet", SIZES[size], given.latent, f"step, {size}, latents of {given.latent}") for size in given.sizes]
    if given.pixels:
        jobs.append(("decode", DECODER, given.pixels // 8, f"decode, {given.pixels} pixels"))
    problems = []
    for job, channels, latent, title in jobs:
        outcome = compare(job, channels, latent, given)
        ratios = show(f"{title}, {given.dtype}, {given.cores} cores", outcome)
        if given.dtype == "fp32" and not outcome.difference <= PROMISED_EQUAL:
            problems.append(f"{title}: the sides differ by {outcome.difference:.1e}, promised {PROMISED_EQUAL:g}")
        if job == "unet" and ratios[given.by] < PROMISED_FASTER:
            problems.append(f"{title}: {ratios[given.by]:.2f} times as fast, promised {PROMISED_FASTER:g}")
        if job == "decode" and 1 / ratios["over_mb"] > PROMISED_MEMORY:
            problems.append(f"{title}: {1 / ratios['over_mb']:.2f} times the memory, promised {PROMISED_MEMORY:g}")
    for problem in problems:
        print(f"Broken promise: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
