"""The smallest recipes, and a command that trains one: `python lines.py FOLDER KIND JSON`."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.training.checkpoints import load_checkpoint
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.recipe import Gather, Recipe

BASE: dict[str, Any] = {
    "images": 2000, "warmup": 200, "learning_rate": 5e-2, "save_seconds": 1e-3, "ema_half_lives": (500, 50), "seed": 3,
}  # fmt: skip
PLAN = Training(**BASE)


class Line(Recipe):
    """Fits y = 2 x + 1 by a linear layer."""

    name = "line"
    network = "line"

    def __init__(self, batch_size: int = 20, wait: float = 0.0):
        self.batch_size, self.wait = batch_size, wait

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def batch(self, start: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = torch.randn(self.batch_size, 1, generator=generator)
        return {"x": x, "y": 2 * x + 1}

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        time.sleep(self.wait)
        noise = 0.01 * torch.randn_like(batch["x"])
        return {"mse": ((model(batch["x"] + noise) - batch["y"]) ** 2).mean()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"slope": model.weight.item()}


class Remembering(Line):
    """Has state of its own: what it saw, from all processes, moves the next loss."""

    def __init__(self, batch_size: int = 20, wait: float = 0.0):
        super().__init__(batch_size, wait)
        self.total = torch.zeros(1)
        self.seen = torch.zeros(0)

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.seen = batch["x"][:, 0]
        return {"mse": super().step(model, batch)["mse"] * (1 + self.total.sin().abs())[0]}

    def learn(self, gather: Gather) -> None:
        self.total += gather(self.seen).sum()

    def state(self) -> dict[str, Tensor]:
        return {"total": self.total}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.total = state["total"].clone()


class Exploding(Line):
    """Its loss stops being a number after 1 000 items."""

    def batch(self, start: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = super().batch(start, generator)
        return batch if start < 1000 else {key: value * float("nan") for key, value in batch.items()}


class Dying(Line):
    """The second process of a training is killed after 200 items."""

    def batch(self, start: int, generator: torch.Generator) -> dict[str, Tensor]:
        if os.environ.get("RANK") == "1" and start > 200:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(start, generator)


def threads_of_the_group() -> list[str]:
    """Names of this process's threads that torch started for a process group (Linux)."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]


class Leaving(Line):
    """Writes down which threads of the group there were in a step and are left once all that runs at the end has."""

    def __init__(self, folder: str, fails: bool = False):
        super().__init__()
        self.fails, self.during = fails, [""]
        note = Path(folder) / f"threads{os.environ['RANK']}.json"
        atexit.register(lambda: note.write_text(json.dumps([self.during, threads_of_the_group()])))  # before the group

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.during = threads_of_the_group()
        if self.fails:
            raise ArithmeticError
        return super().step(model, batch)


KINDS = {"line": Line, "remembering": Remembering, "exploding": Exploding, "dying": Dying, "leaving": Leaving}


def weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the newest checkpoint."""
    found = load_checkpoint(folder / "checkpoints")
    assert found is not None
    return found[0]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two checkpoints are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def train(folder: str, kind: str, recipe: dict[str, Any] | None = None, **plan: Any) -> None:
    """Train one, telling the kinds of events."""
    for event in fit(KINDS[kind](**recipe or {}), Training(**(BASE | plan)), Path(folder)):
        sys.stdout.write(f"{type(event).__name__}\n")


if __name__ == "__main__":
    options = json.loads(sys.argv[3])
    train(*sys.argv[1:3], options.get("recipe"), **options.get("plan", {}))
