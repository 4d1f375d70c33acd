"""Class-conditional diffusion on a CPU: `lienzo train classes` against the diffusion course's notebook.

Both learn the same labelled pictures of 28 pixels in one process on the same number of threads, in turns of a few
seconds, so that whatever else the machine does hits both alike. A clock counts the seconds of training alone. At marks
that double, both draw the same number of pictures of every class, and their FID to all training pictures is taken.

* The peer is the notebook's network, diffusers' UNet2DModel with four channels for the class, trained by the notebook's
  procedure: batch 128, Adam 1e-3, the noise of the squaredcos_cap_v2 schedule, timesteps of randint(0, 999).
* Lienzo is `lienzo train classes` with its defaults, until its planned pictures are seen.

The FID's features are the 128 numbers before the last layer of a small convolutional classifier, which this script
trains on the same pictures first (a few minutes at most). Both sides are sampled with as many network calls: the peer
by diffusers' DDIM, Lienzo by DPM-Solver++(2M); the notebook's own 1000 steps would take hours here.

It prints seconds -> FID of both, and for each reading of the peer how many times fewer seconds Lienzo needed to be as
good. The promise: at least 5 times at the peer's last reading; exit code 1 when it is broken. Readings, weights and
sheets (one row a class, Lienzo on the left) are kept in --work after each mark; the same command resumes there.

    pip install diffusers==0.42.1
    python benchmarks/class_diffusion.py --data FOLDER_OF_IDX_OR_DIGITS --seconds 3600 --work bench_fashion
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.data.opening import open_data
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm_recipe import picture_sheet
from lienzo.diffusion.classes_recipe import draw
from lienzo.imaging.writing import save_picture
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import fid, statistics
from lienzo.tasks.train.classes import TrainClasses, recipe
from lienzo.training.plan import Training
from lienzo.training.state import Run

SIZE = 28
PROMISED_RATIO = 5.0
TURN = 15.0  # seconds of one side's turn
SHOWN = 8  # pictures a class on the sheets


class Judge(nn.Module):
    """The classifier whose features the FID compares: two convolutions, 128 features."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.wide, self.last = nn.Linear(64 * 49, 128), nn.Linear(128, classes)

    def features(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return F.relu(self.wide(F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.features(x))

    @torch.no_grad()
    def rows(self, x: Tensor) -> FeatureSet:
        return FeatureSet(torch.cat([self.features(part) for part in x.split(500)]))


def trained_judge(x: Tensor, y: Tensor, seconds: float, work: Path) -> Judge:
    """The judge, trained once a work folder; it prints its accuracy on a fortieth of the pictures that it never saw."""
    torch.manual_seed(0)
    judge, kept = Judge(int(y.max()) + 1), work / "judge.pt"
    if kept.exists():
        judge.load_state_dict(torch.load(kept))
        return judge.eval()
    order = torch.randperm(len(x))
    held, seen = order[: len(x) // 40], order[len(x) // 40 :]
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3)
    began, share = time.perf_counter(), 0.0
    while share < 1:
        rows = seen[torch.randint(len(seen), (128,))]
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - share)
        loss = F.cross_entropy(judge(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        share = (time.perf_counter() - began) / seconds
    with torch.no_grad():
        right = (judge(x[held]).argmax(1) == y[held]).float().mean().item()
    print(f"Judge: {right:.1%} of {len(held)} withheld pictures right", flush=True)
    torch.save(judge.state_dict(), kept)
    return judge.eval()


@dataclass
class Side:
    """One side's clock and readings.

    Attributes:
        readings: (wall seconds, processor seconds, pictures seen, FID) at each mark.
    """

    wall: float = 0.0
    processor: float = 0.0
    readings: list[tuple[float, float, int, float]] = field(default_factory=list)
    done: bool = False

    def train(self, seconds: float) -> None:
        """Train for so long, or to the end of the plan."""
        if seconds <= 0 or self.done:
            return
        wall, processor = time.perf_counter(), time.process_time()
        while not self.done and time.perf_counter() - wall < seconds:
            self.step()
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor

    @property
    def seen(self) -> int:
        raise NotImplementedError

    def step(self) -> None:
        raise NotImplementedError

    def draw(self, y: Tensor, steps: int) -> Tensor:
        raise NotImplementedError

    def save(self) -> None:
        raise NotImplementedError


class Lienzo(Side):
    """`lienzo train classes` with its defaults; the run's folder is its memory."""

    def __init__(self, data: DataSet, work: Path, options: dict[str, Any]):
        super().__init__()
        self.options = TrainClasses.make(data="given", **options)
        plan = Training(**{name: getattr(self.options, name) for name in Training.model_fields})
        self.run = Run(recipe(self.options, data, data.select([])), plan, work / "lienzo")
        self.done = self.run.images_seen >= plan.images

    @property
    def seen(self) -> int:
        return self.run.images_seen

    def step(self) -> None:
        self.run.step()
        self.done = self.run.images_seen >= self.run.plan.images

    def draw(self, y: Tensor, steps: int) -> Tensor:
        return draw(self.run.shadow, y, SIZE, range(len(y)), "dpmpp_2m", "karras", steps)

    def save(self) -> None:
        self.run.save()


class Notebook(Side):
    """The notebook's network, procedure and libraries."""

    def __init__(self, x: Tensor, y: Tensor, work: Path):
        super().__init__()
        try:
            from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel  # type: ignore[import-not-found]
        except ImportError:
            raise SystemExit("The peer needs diffusers: pip install diffusers==0.42.1") from None
        torch.manual_seed(0)
        self.x, self.y, self.kept = x, y, work / "notebook.pt"
        unet = UNet2DModel(
            sample_size=SIZE, in_channels=5, out_channels=1, layers_per_block=2, block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
        self.net = nn.ModuleDict({"class_emb": nn.Embedding(int(y.max()) + 1, 4), "model": unet})
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
        self.sampling = DDIMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
        self.generator, self.steps = torch.Generator().manual_seed(0), 0  # Lienzo's loop sets torch's global seed
        self.order = torch.randperm(len(x), generator=self.generator)
        if self.kept.exists():
            state = torch.load(self.kept)
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.steps = state["steps"]

    @property
    def seen(self) -> int:
        return 128 * self.steps

    def predict(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        planes = self.net["class_emb"](y)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.net["model"](torch.cat((x, planes), 1), t).sample

    def step(self) -> None:
        place = self.steps % (len(self.x) // 128)
        if place == 0:
            self.order = torch.randperm(len(self.x), generator=self.generator)
        rows = self.order[128 * place : 128 * place + 128]
        x, t = self.x[rows], torch.randint(0, 999, (128,), generator=self.generator)
        noise = torch.randn(x.shape, generator=self.generator)
        loss = F.mse_loss(self.predict(self.noising.add_noise(x, noise, t), t, self.y[rows]), noise)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1

    @torch.no_grad()
    def draw(self, y: Tensor, steps: int) -> Tensor:
        generator, drawn = torch.Generator().manual_seed(0), []
        for part in y.split(125):
            x = torch.randn(len(part), 1, SIZE, SIZE, generator=generator)
            self.sampling.set_timesteps(steps)
            for t in self.sampling.timesteps:
                x = self.sampling.step(self.predict(x, t, part), t, x).prev_sample
            drawn.append(x.clamp(-1, 1))
        return torch.cat(drawn)

    def save(self) -> None:
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "steps": self.steps}
        torch.save(state, self.kept)


@dataclass
class Look:
    """How pictures are drawn and judged."""

    judge: Judge
    real: Any  # statistics of the training pictures
    classes: int
    samples: int
    steps: int

    def labels(self, count: int) -> Tensor:
        return torch.arange(count) % self.classes

    def fid_of(self, side: Side) -> float:
        return fid(self.real, self.judge.rows(side.draw(self.labels(self.samples), self.steps)).rows)

    def sheet(self, sides: list[Side]) -> np.ndarray:
        """One row a class, the sides beside each other, enlarged threefold."""
        y = torch.arange(self.classes).repeat_interleave(SHOWN)
        drawn = [side.draw(y, self.steps).unflatten(0, (self.classes, SHOWN)) for side in sides]
        gap = torch.ones(self.classes, 1, 1, SIZE, SIZE)
        row = torch.cat([drawn[0], *(part for more in drawn[1:] for part in (gap, more))], 1)
        return picture_sheet(row.flatten(0, 1).expand(-1, 3, -1, -1), row.shape[1]).repeat(3, 0).repeat(3, 1)


def compare(sides: dict[str, Side], reach: dict[str, list[float]], look: Look, work: Path) -> None:
    """Train both in turns from mark to mark; read, save and show each at its marks."""
    for index in range(max(map(len, reach.values()))):
        mark = {name: marks[min(index, len(marks) - 1)] for name, marks in reach.items()}
        while any(side.wall < mark[name] and not side.done for name, side in sides.items()):
            for name, side in sides.items():
                side.train(min(TURN, mark[name] - side.wall))
        moved = {name: side for name, side in sides.items() if not side.readings or side.wall > side.readings[-1][0]}
        for name, side in moved.items():
            side.readings.append((side.wall, side.processor, side.seen, look.fid_of(side)))
            wall, processor, seen, value = side.readings[-1]
            print(f"{name:9} {wall:7.0f} s ({processor:.0f} of processor) {seen:8} seen  FID {value:6.1f}", flush=True)
            side.save()
        if not moved:  # a mark from before the command was given again
            continue
        memory = {name: [side.wall, side.processor, side.done, side.readings] for name, side in sides.items()}
        (work / "readings.json").write_text(json.dumps(memory))
        save_picture(look.sheet(list(sides.values())), work / f"sheet_{mark['notebook']:06.0f}.png", exist_ok=True)


def seconds_to(readings: list[tuple[float, float, int, float]], value: float, clock: int) -> tuple[float, bool]:
    """When a side was first as good as `value`, and whether that is exact (else it was good enough at its first look).

    Between looks the FID is taken as linear in the logarithm of time; infinity if it never was.
    """
    before = None
    for reading in readings:
        if reading[3] <= value:
            if before is None:
                return reading[clock], False
            share = (before[3] - value) / (before[3] - reading[3])
            return math.exp(math.log(before[clock]) + share * math.log(reading[clock] / before[clock])), True
        before = reading
    return math.inf, True


def report(sides: dict[str, Side]) -> float:
    """The table of ratios; returns the one at the peer's last reading, by wall seconds."""
    ratio = 0.0
    print("peer: seconds, FID | Lienzo: seconds to the same FID | ratio by wall, by processor")
    for wall, processor, _, value in sides["notebook"].readings:
        ours, exact = seconds_to(sides["lienzo"].readings, value, 0)
        ours_processor, _ = seconds_to(sides["lienzo"].readings, value, 1)
        ratio = wall / ours
        sign = "" if exact else ">= "
        print(f"{wall:8.0f} {value:7.1f} | {ours:8.0f} | {sign}{ratio:.1f} {sign}{processor / ours_processor:.1f}")
    return ratio


def marks(first: float, last: float) -> list[float]:
    """Seconds that double, from `first` to `last`."""
    return [first * 2**i for i in range(max(math.ceil(math.log2(last / first)), 0))] + [last]


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled pictures: a folder of IDX files, digits, or folders")
    parser.add_argument("--seconds", type=float, default=3600, help="seconds of the peer's training")
    parser.add_argument("--ours", type=float, default=math.inf, help="at most so many seconds of Lienzo's training")
    parser.add_argument("--first", type=float, default=60, help="seconds of the peer's first mark; Lienzo's is a fifth")
    parser.add_argument("--samples", type=int, default=1000, help="pictures of each FID")
    parser.add_argument("--steps", type=int, default=25, help="network calls of a sample, on both sides")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--judge-seconds", type=float, default=120, help="training of the classifier")
    parser.add_argument("--images", type=int, help="pictures that Lienzo sees instead of its default")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "out" / "class_diffusion")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    torch.set_num_threads(given.threads)
    given.work.mkdir(parents=True, exist_ok=True)
    data = open_data(given.data, SIZE)
    if data.labels is None:
        raise SystemExit("These pictures have no classes.")
    rows = np.arange(len(data))
    x = torch.from_numpy(data.images[rows][..., :1].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    y = torch.from_numpy(data.labels)
    judge = trained_judge(x, y, given.judge_seconds, given.work)
    look = Look(judge, statistics(judge.rows(x)), len(data.label_names), given.samples, given.steps)
    options = {} if given.images is None else {"images": given.images}
    sides: dict[str, Side] = {"lienzo": Lienzo(data, given.work, options), "notebook": Notebook(x, y, given.work)}
    memory = given.work / "readings.json"
    if memory.exists():
        for name, (wall, processor, done, readings) in json.loads(memory.read_text()).items():
            side = sides[name]
            side.wall, side.processor, side.done, side.readings = wall, processor, done, [tuple(r) for r in readings]
    protocol = f"fid[net=own classifier,n={given.samples},ref={len(data)}], {given.steps} network calls"
    print(f"{protocol}; {given.threads} threads, {len(data)} pictures, {len(data.label_names)} classes", flush=True)
    ends = {"lienzo": min(given.ours, given.seconds), "notebook": given.seconds}
    reach = {"lienzo": marks(given.first / 5, ends["lienzo"]), "notebook": marks(given.first, ends["notebook"])}
    compare(sides, reach, look, given.work)
    ratio = report(sides)
    print(f"The same FID {ratio:.1f} times sooner; promised {PROMISED_RATIO:g}")
    return 0 if ratio >= PROMISED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
