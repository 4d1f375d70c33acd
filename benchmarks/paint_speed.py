"""Painting in the codes of a VQGAN: seconds until an independent judge sees the sentence, beside VQGAN+CLIP.

Both sides paint the same sentences at the same size with the same VQGAN and the same CLIP (the bundled ones, or the
files of the same names in `--models`), one picture at a time in one process, in turns. A second CLIP that guides
neither judges the pictures after some of the steps, outside of the seconds counted, as is the reading of
the networks.

* **published**: `paint_peer.py`, the loop of nerdyrodent/VQGAN-CLIP with its defaults (32 cuts, Adam at 0.1, random
  codes at first). `--peer-rate` gives it another learning rate, which another codebook may want.
* **lienzo**: what `lienzo paint --canvas vqgan --preset draft` does, and `--preset` names another. It begins from
  shapes found by trial, with the CLIP that guides and within the seconds counted.

The score is the mean over the sentences of the judge's cosine between picture and sentence. The target is the highest
that the published loop has at any of its steps; R@1 (does the judge prefer the right sentence among all?) stands
beside. The promise: at least 2 times fewer seconds to the target; exit code 1 when it is broken.

With the loop's 500 steps it takes half an hour on one idle core; its score hardly rises after the first 100, so that
`--peer-steps 100` says the same in a quarter of the time. Busy machines: `--by processor`.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from paint_peer import Flags, published
from torch import Tensor

from lienzo.autoencoders.vqgan import VQModel
from lienzo.core.events import Progress
from lienzo.guidance.perceptor import Perceptor
from lienzo.imaging.grids import contact_sheet
from lienzo.imaging.reading import from_tensor
from lienzo.imaging.writing import save_picture
from lienzo.metrics.judging import prompt_recall
from lienzo.tasks.paint import Paint
from lienzo.tasks.painting import Painting, open_painting
from lienzo.tasks.perceptors import perceptor_of
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

PROMPTS = (
    "a red apple", "a blue fish", "a black cat", "a pink flower", "an orange pumpkin", "a yellow sun",
    "a purple grape", "a green frog", "a brown bear", "a golden crown", "a red car", "a green tree",
)  # fmt: skip
PROMISED_RATIO = 2.0
OUT = Path(__file__).parent / "out" / "paint_speed.png"
CPU = torch.device("cpu")

Pictures = Iterator[Callable[[], Tensor]]
"""After each step a function that gives the picture (1, 3, H, W) in [0, 1]; only what is looked at is rendered."""


@dataclass
class Curve:
    """What one side had after how many seconds, for each sentence."""

    steps: list[int] = field(default_factory=list)
    seconds: list[list[float]] = field(default_factory=list)  # [sentence][look], wall
    processor: list[list[float]] = field(default_factory=list)
    seen: list[list[Tensor]] = field(default_factory=list)  # [sentence][look], unit vectors (D,)
    last: list[Tensor] = field(default_factory=list)  # (1, 3, H, W)
    memory: int = 0  # peak of the process in bytes after this side's first picture

    def scores(self, words: Tensor) -> tuple[list[float], list[float]]:
        """Mean cosine and R@1 at each look; `words` (N, D) are the unit vectors of all sentences."""
        looks = [torch.stack(pictures) for pictures in zip(*self.seen)]  # (sentences, D) each
        cosines = [float((seen * words[: len(seen)]).sum(1).mean()) for seen in looks]
        recalls = [recall(seen, words) for seen in looks]
        return cosines, recalls

    def spent(self, by: str) -> list[float]:
        """Mean seconds at each look, `by` wall or processor."""
        rows = self.seconds if by == "wall" else self.processor
        return [sum(look) / len(look) for look in zip(*rows)]


def recall(seen: Tensor, words: Tensor) -> float:
    """Share of the pictures for which the judge prefers their own sentence among all of `words`."""
    if len(seen) == len(words):
        return prompt_recall(seen, words)
    return float(((seen @ words.T).argmax(1) == torch.arange(len(seen))).float().mean())


def opened(prompt: str, seed: int, given: argparse.Namespace) -> Painting:
    """What the command paints with."""
    wanted = {"size": given.size, "cuts": given.cuts, "iterations": given.steps}
    own = Paint.presets[given.preset] | {name: value for name, value in wanted.items() if value is not None}
    named = {} if given.models is None else {"vqgan": str(given.models / "vqgan.safetensors")}
    named |= {} if given.models is None else {"clip": (str(given.models / "guide.safetensors"),)}
    options = Paint.make(prompt=prompt, canvas="vqgan", seed=seed, judge="none", device="cpu", **own, **named)
    return open_painting(options)


def lienzo(painting: Painting, seed: int, size: int) -> Pictures:
    """What the command does once its networks are there."""
    canvas = painting.canvas(seed, None)
    for event in painting.strokes(canvas, painting.guides(seed), painting.options.iterations):
        if isinstance(event, Progress):
            yield lambda: whole(canvas.render().detach(), size)


def whole(picture: Tensor, size: int) -> Tensor:
    """A picture that is still small, at the size of the finished one."""
    return picture if picture.shape[-1] == size else F.interpolate(picture, (size, size), mode="bicubic").clamp(0, 1)


def watch(pictures: Pictures, curve: Curve, judge: Perceptor, every: int) -> None:
    """Paint one sentence to the end; look every `every` steps and after the last. Looks cost no seconds."""
    rows: list[tuple[int, float, float, Tensor]] = []
    wall, processor, step = 0.0, 0.0, 0
    picture: Callable[[], Tensor] | None = None
    while True:
        began, at = time.perf_counter(), time.process_time()
        following = next(pictures, None)
        wall, processor = wall + time.perf_counter() - began, processor + time.process_time() - at
        if following is None:
            break
        picture, step = following, step + 1
        if step % every == 0:
            rows.append((step, wall, processor, looked(judge, picture())))
    if picture is None:
        raise SystemExit("Nothing was painted.")
    if not rows or rows[-1][0] != step:
        rows.append((step, wall, processor, looked(judge, picture())))
    curve.steps = [row[0] for row in rows]
    curve.seconds.append([row[1] for row in rows])
    curve.processor.append([row[2] for row in rows])
    curve.seen.append([row[3] for row in rows])
    curve.last.append(picture())
    curve.memory = curve.memory or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.no_grad()
def looked(judge: Perceptor, picture: Tensor) -> Tensor:
    """The judge's unit vector (D,) of a picture as its file would have it."""
    return F.normalize(judge.encode_image((picture * 255).round() / 255), dim=-1)[0]


def reach(curve: Curve, target: float, words: Tensor, by: str) -> tuple[float, int] | None:
    """Seconds and steps to a mean cosine of `target`; None where it is not reached."""
    cosines, _ = curve.scores(words)
    for seconds, step, cosine in zip(curve.spent(by), curve.steps, cosines):
        if cosine >= target:
            return seconds, step
    return None


def report(curves: dict[str, Curve], words: Tensor, given: argparse.Namespace) -> dict[str, object]:
    """Print the tables; all of it as JSON has it."""
    tables: dict[str, list[dict[str, float]]] = {}
    for name, curve in curves.items():
        cosines, recalls = curve.scores(words)
        spent = zip(curve.steps, curve.spent("wall"), curve.spent("processor"), cosines, recalls)
        keys = ("step", "wall_s", "processor_s", "cosine", "recall")
        tables[name] = [dict(zip(keys, row)) for row in spent]
        print(f"\n{name}: step, wall s, processor s, judge's cosine, R@1 among {len(words)}")
        for row in tables[name]:
            print("{step:6.0f}{wall_s:9.1f}{processor_s:9.1f}{cosine:9.3f}{recall:8.2f}".format(**row))
    target = max(row["cosine"] for row in tables["published"])
    found = {name: reach(curve, target, words, given.by) for name, curve in curves.items()}
    print(f"\nto a cosine of {target:.3f}, the best of the published loop, {len(curves['lienzo'].last)} sentences:")
    for name, at in found.items():
        print(f"  {name:10}" + ("not reached" if at is None else f"{at[0]:8.1f} {given.by} s, {at[1]} steps"))
    theirs, mine = found["published"], found["lienzo"]
    ratio = theirs[0] / mine[0] if theirs and mine else 0.0
    memory = {name: curve.memory / 2**20 for name, curve in curves.items()}
    print(f"Lienzo takes {ratio:.1f} times fewer {given.by} seconds (promise: {PROMISED_RATIO:g}).")
    print(f"Peak memory of the process after the first picture of lienzo {memory['lienzo']:.0f} MB, ", end="")
    print(f"then of the published loop {memory['published']:.0f} MB.")
    return {"target": target, "ratio": ratio, "reached": found, "memory_mb": memory, "curves": tables}


def save_sheet(curves: dict[str, Curve], path: Path) -> None:
    """The last pictures at twice their size: a row of the published loop's, a row of Lienzo's."""
    cells, labels = [], []
    for name, curve in curves.items():
        for prompt, picture in zip(PROMPTS, curve.last):
            cells.append(from_tensor(F.interpolate(picture, scale_factor=2.0, mode="bicubic").clamp(0, 1))[0])
            labels.append(f"{name}: {prompt}")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(contact_sheet(cells, labels, columns=len(curves["lienzo"].last)), path, exist_ok=True)
    print(f"pictures: {path}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of vqgan, guide, judge (default: bundled)")
    parser.add_argument("--prompts", type=int, default=8, choices=range(1, len(PROMPTS) + 1), metavar="1-12")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--preset", default="draft", choices=sorted(Paint.presets))
    parser.add_argument("--steps", type=int, help="of Lienzo (default: the preset's)")
    parser.add_argument("--cuts", type=int, help="of Lienzo (default: the preset's)")
    parser.add_argument("--peer-steps", type=int, default=Flags.iterations)
    parser.add_argument("--peer-rate", type=float, default=Flags.step_size)
    parser.add_argument("--every", type=int, default=10, help="steps of the published loop between looks; ours: half")
    parser.add_argument("--by", default="wall", choices=("wall", "processor"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.out.suffix != ".png":
        parser.error("--out is the sheet of pictures; its name ends in .png")
    return given


def open_all(models: Path | None) -> tuple[VQModel, Perceptor, Perceptor]:
    """The VQGAN, the CLIP that guides and the one that judges."""
    files = {name: resolve(name) if models is None else models / f"{name}.safetensors"
             for name in ("vqgan", "guide", "judge")}  # fmt: skip
    loaded = {name: load_model(path).requires_grad_(False) for name, path in files.items()}
    guide, judge = (perceptor_of(loaded[name], name, CPU) for name in ("guide", "judge"))
    return loaded["vqgan"], guide, judge  # type: ignore[return-value]


def main() -> int:
    given = read_arguments()
    torch.set_num_threads(given.threads)
    vqgan, guide, judge = open_all(given.models)
    words = F.normalize(judge.encode_text(list(PROMPTS)), dim=-1)
    flags = Flags(iterations=given.peer_steps, step_size=given.peer_rate)
    curves = {"published": Curve(), "lienzo": Curve()}
    for prompt in PROMPTS[: given.prompts]:
        ours = lienzo(opened(prompt, given.seed, given), given.seed, given.size)
        watch(ours, curves["lienzo"], judge, max(given.every // 2, 1))
        loop = published(vqgan, guide, prompt, given.size, given.seed, flags)
        watch(((lambda picture=picture: picture) for picture in loop), curves["published"], judge, given.every)
        took = ", ".join(f"{name} {curve.seconds[-1][-1]:.1f} s" for name, curve in curves.items())
        print(f"{prompt}: {took}", flush=True)
    figures = report(curves, words, given)
    save_sheet(curves, given.out)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    kept = float(figures["ratio"]) >= PROMISED_RATIO  # type: ignore[arg-type]
    print("The promise is kept." if kept else "The promise is BROKEN.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
