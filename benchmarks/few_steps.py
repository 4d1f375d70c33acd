"""How few steps do: the judge's R@1 and cosine of the bundled painter's pictures at 4, 8, 16 and 50 steps.

    python benchmarks/few_steps.py CORPUS [--models DIR] [--steps 4 8 16 50] [--count 100] [--sets 3]

Prompts and seeds are the same for all numbers of steps; each set has other prompts, drawn from those that the painter
learned from. R@1: the judge, which guides nothing, finds the right one of `--count` sentences for a picture. Its
cosine of picture and sentence moves less by chance. CLIP chooses among no candidates. Seconds are those of drawing,
refining and judging.

Promise: 8 steps have at least 0.95 of the R@1 of the most steps, over all sets. Exit code 1 when it is broken.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from painter_bars import Studio, recall

FEW, KEPT = 8, 0.95


def measured(studio: Studio, sets: list[list[int]], steps: int) -> tuple[float, float, float]:
    """R@1 in per cent, cosine of picture and sentence, and processor seconds a picture, judging included."""
    studio.engine.steps, studio.engine.candidates = steps, 1
    shares, cosines = [], []
    began = time.process_time()
    for rows in sets:
        figure, pictures = recall(studio, rows, f"{steps} steps")
        said = studio.texts([studio.name(row) for row in rows])
        shares.append(figure.ours)
        cosines.append(float((studio.vectors(pictures) * said).sum(1).mean()))
    spent = (time.process_time() - began) / sum(len(rows) for rows in sets)
    return sum(shares) / len(sets), sum(cosines) / len(sets), spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=Path, help="folder of model files; default: the installed ones")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, FEW, 16, 50])
    parser.add_argument("--count", type=int, default=100, help="prompts a set")
    parser.add_argument("--sets", type=int, default=3)
    given = parser.parse_args()
    studio = Studio(given.corpus, given.models, given.count)
    sets = [studio.chosen(studio.learned(), seed) for seed in range(given.sets)]
    rows = {steps: measured(studio, sets, steps) for steps in sorted({FEW, *given.steps})}
    print(f"{'steps':>6}{'R@1 %':>8}{'cosine':>9}{'cpu s':>8}   {torch.get_num_threads()} threads")
    for steps, (share, cosine, spent) in rows.items():
        print(f"{steps:6}{share:8.1f}{cosine:9.4f}{spent:8.3f}")
    kept = rows[FEW][0] / rows[max(rows)][0]
    print(f"{FEW} steps have {kept:.3f} of the R@1 of {max(rows)}")
    if kept < KEPT:
        print(f"Broken promise: {kept:.3f} of the R@1, promised {KEPT:g}", file=sys.stderr)
    return int(kept < KEPT)


if __name__ == "__main__":
    sys.exit(main())
