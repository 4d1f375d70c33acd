"""How `lienzo train bundled` divides its minutes, and the ledger by which the same command goes on where it was."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from lienzo.core.errors import BadInput, LienzoError
from lienzo.core.events import Event, Note, Progress
from lienzo.core.files import replacing
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.recipe import Recipe

SHARES: dict[str, dict[str, float]] = {
    "laptop": {
        "sentence": 12, "judge": 12, "guide": 11, "code": 4, "painter": 33, "refiner": 14, "upscaler": 14, "adm": 12,
        "vqgan": 20,
    },
    "gpu": {
        "sentence": 8, "judge": 7, "guide": 7, "code": 1, "painter": 25, "refiner": 10, "upscaler": 15, "adm": 35,
        "vqgan": 15,
    },
}  # fmt: skip
"""What each stage gets of the time, in parts; stages that are not run leave theirs to the others."""
MARGIN = 0.95  # of the time that is left for steps; checkpoints and a busy machine take the rest
PACE_STEPS, PACE_SHARE = 2, 0.03


class Ledger:
    """What a command has done, in `folder/ledger.json`: its options, the seconds it took, and each stage's facts.

    Args:
        folder: of the runs.
        given: the options that decide the outcome; a command with others is refused.

    Raises:
        BadInput: the folder's ledger is of other options.
    """

    def __init__(self, folder: Path, given: Mapping[str, Any]):
        self.path = folder / "ledger.json"
        self.given = json.loads(json.dumps(given))
        self.seconds, self.stages = 0.0, {}  # type: float, dict[str, dict[str, Any]]
        self.start()
        if self.path.is_file():
            found = json.loads(self.path.read_text("utf-8"))
            before = found["given"]
            differ = [f"{key}={before.get(key)}" for key, value in self.given.items() if before.get(key) != value]
            if differ:
                raise BadInput(
                    f"The runs in {folder} were begun with {', '.join(differ)}. Give the same options to go on, or "
                    "another --runs to begin anew."
                )
            self.seconds, self.stages = found["seconds"], found["stages"]

    def __getitem__(self, stage: str) -> dict[str, Any]:
        """The facts of a stage; empty before it begins."""
        return self.stages.get(stage, {})

    def start(self) -> None:
        """Begin to count seconds."""
        self._ticked = time.monotonic()

    def spent(self) -> float:
        """Seconds that this command and its forerunners took."""
        return self.seconds + time.monotonic() - self._ticked

    def write(self, stage: str | None = None, **facts: Any) -> None:
        """Add to a stage's facts, count the seconds so far, and write the file, whole or not at all."""
        if stage is not None:
            self.stages[stage] = {**self[stage], **facts}
        now = time.monotonic()
        self.seconds, self._ticked = self.seconds + now - self._ticked, now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as work:
            work.write_text(json.dumps({"given": self.given, "seconds": self.seconds, "stages": self.stages}), "utf-8")

    def slot(self, stage: str, waiting: Sequence[str], minutes: float, size: str) -> float:
        """Seconds for a stage: its share of what is left, among the stages that still wait (itself included)."""
        shares = SHARES[size]
        return max(0.0, minutes * 60 - self.spent()) * shares[stage] / sum(shares[name] for name in waiting)


def fit_in(recipe: Recipe, plan: Training, ends: float, look: int, folder: Path) -> Generator[Event, None, Training]:
    """The plan cut or stretched so that it is over at `ends`: the pace is measured once, the items follow from it.

    Warm-up and the half-life of the averages keep their shares of the run, and the rate falls to 0 at its end.

    Args:
        ends: the moment of `time.monotonic()` at which the stage should be done.
        look: training items that take as long as the evaluation at the end.
        folder: of the run; a folder `pace` in it is used and removed.

    Yields:
        A Note when torch.compile fails, after which the plan does without.
    """
    seconds = max(0.5, min(10.0, PACE_SHARE * (ends - time.monotonic())))
    try:
        pace = _pace(recipe, plan, seconds, folder / "pace")
    except LienzoError:
        raise
    except Exception as error:
        if not plan.compile:
            raise
        yield Note(f"torch.compile failed ({type(error).__name__}), so {recipe.name} trains without it.", "warning")
        plan = plan.model_copy(update={"compile": False})
        pace = _pace(recipe, plan, seconds, folder / "pace")
    left = ends - time.monotonic() - look / pace
    images = max(int(pace * left * MARGIN), recipe.batch_size)
    if left > 0:
        yield Note(f"{recipe.name}: {pace:.0f} items a second, so {images} in {left:.0f} s.")
    else:
        yield Note(f"The time is too short for {recipe.name}: one step is all it gets.", "warning")
    return scaled(plan, images, recipe.batch_size)


def scaled(plan: Training, images: int, batch: int) -> Training:
    """The plan for another number of items; the warm-up has at least 20 steps or a fifth of the run."""
    share = images / plan.images
    warmup = min(max(int(plan.warmup * share), 20 * batch), images // 5)
    half_lives = tuple(max(1, int(half_life * share)) for half_life in plan.ema_half_lives)
    return plan.model_copy(update={"images": images, "warmup": warmup, "ema_half_lives": half_lives, "look_images": 0})


def _pace(recipe: Recipe, plan: Training, seconds: float, folder: Path) -> float:
    """Items a second of the real loop once it is warm, in a run that is thrown away.

    Raises:
        BadInput: the loop was asked to stop meanwhile.
    """
    endless = plan.model_copy(update={"images": 2**40, "look_images": 0, "save_seconds": 1e9})
    shutil.rmtree(folder, ignore_errors=True)
    began, first, steps = 0.0, 0, 0
    warm = 3 if torch.cuda.is_available() else 1  # the first steps compile and find the fastest kernels
    try:
        with closing(fit(recipe, endless, folder)) as events:  # type: ignore[type-var]
            for event in events:
                if not isinstance(event, Progress):
                    continue
                steps += 1
                if steps == warm:
                    began, first = _now(), event.done
                elif steps >= warm + PACE_STEPS and time.monotonic() - began >= seconds:
                    return (event.done - first) / (_now() - began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    raise BadInput(f"Stopped while the pace of {recipe.name} was measured; the same command goes on from there.")


def _now() -> float:
    """The time, once the GPU has caught up."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()
