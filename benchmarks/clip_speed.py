"""How fast a folder of pictures is indexed and how soon a text query is answered: Lienzo beside rclip and open_clip.

**Embedding.** Every side turns the same JPEG files (1600 x 1200 and 800 x 600, grainy crops of the gallery) into
vectors with the same tower: `ViT-B-32-256`, the one that rclip uses, with random weights from a fixed seed. Random
weights multiply as trained ones do. Each side is a fresh process; they take turns; loading the model is not timed.

* lienzo: `index_folders`, all that `lienzo index` does: walk, read, hash, decode, embed, commit to SQLite;
* rclip: the real package (3.3), its `ensure_index` with its batch of 8 and its ONNX session. Only its weights are
  replaced, by the same tower exported to ONNX in float32;
* open_clip: the real package, its `preprocess` and `encode_image` in float32 as its README uses them, in batches of 64
  from torch's DataLoader with a worker per core. It stores nothing.

Promises: Lienzo is at least twice as fast as each (wall clock), and its vectors have a cosine of at least 0.999 with
theirs. Untrained towers give all pictures similar vectors, so the cosines after the mean is taken off are shown too.

**Start of a query.** Wall seconds and peak memory of a fresh process that answers a text query over those pictures:
`lienzo search` with the bundled CLIP and with the tower above, `rclip --no-indexing` with the tower above, and, as the
least that any program with open_clip needs, its import. Promise: under a second with the bundled CLIP.

It needs a virtual environment of its own, so that nothing of the peers gets into the project's:

    python -m venv peers && peers/bin/pip install torch rclip==3.3.* open_clip_torch==3.3.* onnx onnxscript . &&
    peers/bin/python benchmarks/clip_speed.py

Exit code 1 when a promise is broken. It takes about 5 minutes on two idle cores, 2 GB of memory and 2 GB of disk;
`--pictures 64 --rounds 1` is a look. On a busy machine compare processor seconds, which waiting does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
GALLERY = HERE.parent / "docs" / "gallery"
SIDES = ("lienzo", "rclip", "open_clip")
PROMISED_RATIO, PROMISED_COSINE, PROMISED_START = 2.0, 0.999, 1.0
QUERY = "a yellow submarine"


class Run(NamedTuple):
    """A process that has ended."""

    wall: float
    processor: float
    peak_mb: float
    output: str


def run(command: list[str], cores: int, folder: Path | None = None, **environment: str) -> Run:
    """Run a command on its cores; ends the benchmark with the command's own words if it fails."""
    variables = os.environ | {"OMP_NUM_THREADS": str(cores)} | environment
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=variables)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        out.seek(0), err.seek(0)
        if status:
            sys.exit(f"{' '.join(command)} failed:\n{err.read()[-3000:]}")
        return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read())


def make_pictures(folder: Path, count: int, seed: int) -> None:
    """JPEG files as cameras and the web have them: crops of the gallery, tinted and with grain."""
    folder.mkdir()
    sources = [Image.open(path).convert("RGB") for path in sorted(GALLERY.glob("*.png"))]
    for number in range(count):
        draw = np.random.default_rng((seed, number))
        width, height = (1600, 1200) if number % 2 else (800, 600)
        source = sources[int(draw.integers(len(sources)))]
        across = int(min(source.width, source.height * width / height) * draw.uniform(0.4, 1))
        down = across * height // width
        left = int(draw.integers(source.width - across + 1))
        top = int(draw.integers(source.height - down + 1))
        box = (left, top, left + across, top + down)
        pixels = np.asarray(source.resize((width, height), Image.Resampling.BICUBIC, box), np.float32)
        pixels = pixels * draw.uniform(0.7, 1.2, 3).astype(np.float32)
        pixels += 5 * draw.standard_normal((height, width, 1), np.float32)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)


def embed(model: Path, pictures: Path, rounds: int, cores: int) -> dict[str, list[dict[str, float]]]:
    """Times of each side, and its vectors in a file beside the model."""
    times: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, str(HERE / "clip_sides.py"), side, str(model), str(pictures)]
            command += ["--cores", str(cores), "--out", str(model / f"{side}.npz")]
            times[side].append(json.loads(run(command, cores).output.splitlines()[-1]))
    return times


def cosines(model: Path, one: str, other: str) -> tuple[float, float]:
    """The least cosine of the two sides' vectors of a picture, and the least after the mean is taken off."""
    sides = []
    for side in (one, other):
        with np.load(model / f"{side}.npz") as file:
            names, vectors = file["names"].tolist(), file["vectors"].astype(np.float64)
        sides.append((names, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    if sides[0][0] != sides[1][0]:
        sys.exit(f"{one} and {other} did not embed the same files.")
    x, y = sides[0][1], sides[1][1]
    mean = y.mean(0)
    return float(_cosine(x, y).min()), float(_cosine(x - mean, y - mean).min())


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def compare_embedding(model: Path, pictures: Path, count: int, rounds: int, cores: int) -> list[str]:
    """Print the table; the promises that are broken."""
    times = embed(model, pictures, rounds, cores)
    best = {
        side: {key: median(row[key] for row in rows) for key in ("wall", "processor", "peak_mb")}
        for side, rows in times.items()
    }
    print(f"Embedding {count} pictures, {cores} cores, median of {rounds}; load {os.getloadavg()[0]:.1f}")
    columns = ("pictures/s", "cpu s/100", "peak MB", "faster", "by cpu", "cosine", "centred")
    print(" " * 12 + "".join(f"{column:>11}" for column in columns))
    problems = []
    for side, row in best.items():
        line = f"{side:12}{count / row['wall']:11.2f}{100 * row['processor'] / count:11.2f}{row['peak_mb']:11.0f}"
        if side != "lienzo":
            ratio = row["wall"] / best["lienzo"]["wall"]
            cosine, centred = cosines(model, "lienzo", side)
            line += (
                f"{ratio:10.2f}x{row['processor'] / best['lienzo']['processor']:10.2f}x{cosine:11.6f}{centred:11.6f}"
            )
            if ratio < PROMISED_RATIO:
                problems.append(f"{ratio:.2f} times as fast as {side}, promised {PROMISED_RATIO:g}")
            if cosine < PROMISED_COSINE:
                problems.append(f"the least cosine with {side} is {cosine:.5f}, promised {PROMISED_COSINE}")
        print(line)
    return problems


def compare_start(model: Path, pictures: Path, runs: int, cores: int) -> list[str]:
    """Print the table; the promises that are broken."""
    lienzo = [sys.executable, "-m", "lienzo"]
    bundled, same = str(model / "bundled"), str(model / "lienzo")
    weights = str(model / "open_clip_model.safetensors")
    run([*lienzo, "index", str(pictures), "--index", bundled], cores)
    commands = {
        "lienzo, bundled CLIP": [*lienzo, "search", QUERY, "--index", bundled],
        "lienzo, ViT-B/32": [*lienzo, "search", QUERY, "--index", same, "--clip", weights],
        "rclip, ViT-B/32": [sys.executable, "-m", "rclip", QUERY, "--no-indexing"],
        "import open_clip": [sys.executable, str(HERE / "clip_sides.py"), "import"],
    }
    rows: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            done = run(command, cores, pictures, RCLIP_DATADIR=str(model / "rclip"))
            if "import" not in name and ".jpg" not in done.output:
                sys.exit(f"{name} found nothing:\n{done.output}")
            if number:  # the first one fills the disk's cache
                rows[name].append(done)
    print(f"\nA text query in a fresh process, median of {runs}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':22}{'seconds':>9}{'cpu s':>9}{'peak MB':>9}")
    for name, done in rows.items():
        print(
            f"{name:22}"
            + "".join(f"{median(run[i] for run in done):9.{places}f}" for i, places in enumerate((2, 2, 0)))
        )
    seconds = median(done.wall for done in rows["lienzo, bundled CLIP"])
    return [f"a query takes {seconds:.2f} s, promised {PROMISED_START:g}"] if seconds >= PROMISED_START else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--cores", type=int, default=0, help="threads of each side; 0: all that this process may use")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="folder to keep the exported tower in, so that it is made once")
    given = parser.parse_args()
    available = len(os.sched_getaffinity(0))
    cores = min(given.cores or available, available)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    with tempfile.TemporaryDirectory() as folder:
        model, pictures = given.model or Path(folder) / "model", Path(folder) / "pictures"
        make_pictures(pictures, given.pictures, given.seed)
        if not model.is_dir():
            model.mkdir(parents=True)
            run([sys.executable, str(HERE / "clip_sides.py"), "export", str(model), "--seed", str(given.seed)], cores)
        shutil.rmtree(model / "bundled", ignore_errors=True)
        problems = compare_embedding(model, pictures, given.pictures, given.rounds, cores)
        problems += compare_start(model, pictures, given.starts, cores)
    for problem in problems:
        print(f"Broken promise: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
