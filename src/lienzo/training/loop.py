"""The one training loop: a generator of events around any recipe.

To resume, run the same command again: every step seeds itself from the run's seed and its place in the order of
training items, so a run that was killed draws the same data and noise as one that was not (after NVIDIA's EDM2).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture, Progress
from lienzo.training.claim import claimed
from lienzo.training.plan import Training
from lienzo.training.recipe import Recipe
from lienzo.training.schedule import rate_at
from lienzo.training.state import Run
from lienzo.training.stopping import Stop, stop_requests
from lienzo.training.trackers import Log, require_trackers

PENDING = 200  # steps whose losses may wait on a GPU before they are looked at


class Diverged(BadInput):
    """A loss or gradient stopped being a number."""


@dataclass
class Watch:
    """Clocks of one command: when it began, saved, logged; and the losses that were not looked at yet."""

    run: Run
    began: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    logged: float = field(default_factory=time.monotonic)
    logged_images: int = 0
    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first = self.logged_images = self.run.images_seen

    def due(self, asked: bool) -> list[bool]:
        """Whether it is time to stop, to save, to log; the same answer on every process."""
        run, now = self.run, time.monotonic()
        late = run.plan.minutes is not None and now - self.began >= run.plan.minutes * 60
        main, end = run.processes.main, run.images_seen >= run.plan.images
        eager = run.device.type == "cpu" or len(self.pending) >= PENDING
        return run.processes.agree(
            asked or end or (main and late),
            main and now - self.saved >= run.plan.save_seconds,
            main and (eager or now - self.logged >= 1),
        )

    def check(self) -> dict[str, float]:
        """Look at the waiting losses; returns the means of the last step.

        Raises:
            Diverged: one was not finite; the sentence says after how many items.
        """
        waiting, self.pending = self.pending, []
        names = list(waiting[-1][1])
        rows = torch.stack([torch.stack([losses[name].float() for name in names]) for _, losses in waiting])
        rows = self.run.processes.gather(rows[None]).mean(0)  # (steps, losses)
        for (seen, _), values in zip(waiting, rows.tolist(), strict=True):
            for name, value in zip(names, values, strict=True):
                if not math.isfinite(value) and not (name == "gradient" and self.run.plan.precision == "fp16"):
                    raise Diverged(
                        f"The {name} became {value} after {seen} items, so training stopped; {self._left()}. Lower "
                        "--learning-rate or look at the data."
                    )
        return dict(zip(names, rows[-1].tolist(), strict=True))

    def _left(self) -> str:
        folder = self.run.folder / "checkpoints"
        if any(folder.glob("state_*")):
            return f"the last good checkpoint is kept in {folder}"
        return "there is no checkpoint from before"

    def report(self, log: Log | None, figures: dict[str, float], *, always: bool) -> Iterator[Event]:
        """About once a second: the figures, the pace and the rate into the log and out as events."""
        run, now = self.run, time.monotonic()
        if log is None or not (always or now - self.logged >= 1):
            return
        pace = (run.images_seen - self.logged_images) / max(now - self.logged, 1e-9)
        self.logged, self.logged_images = now, run.images_seen
        rate = rate_at(run.images_seen - run.items, run.plan)
        log.figures(
            run.images_seen,
            figures | {"images_per_second": pace, "learning_rate": rate, "seconds": now - self.began},
        )
        yield from (Metric(name, value, images_seen=run.images_seen) for name, value in figures.items())


def fit(recipe: Recipe, plan: Training, folder: Path) -> Iterator[Event]:
    """Train `recipe` by `plan` in `folder`, resuming from its newest checkpoint.

    With several processes (torchrun) all must iterate; the main one writes the files and yields the events.

    Yields:
        Progress for every step, Metric for losses about once a second (also appended to `metrics.jsonl`),
        Metric and Picture at each look, Checkpoint for each save. `folder/checkpoints` holds the last two states.
        SIGTERM, Ctrl-C and `plan.minutes` save and stop early, with a Note.

    Raises:
        BadInput: the folder holds a run of other settings, or another training is at work in it; a tracker is not
            installed; memory does not suffice; the disk refuses; a loss stopped being a number (`Diverged`): then the
            newest checkpoint is one from before.
        KeyboardInterrupt: after a Ctrl-C, once the checkpoint is written.
    """
    require_trackers(plan.trackers)
    run = Run(recipe, plan, folder)
    with ExitStack() as stack:
        run.processes.share(lambda: stack.enter_context(claimed(folder)))
        run.resume()
        stack.callback(run.batches.close)  # type: ignore[attr-defined]
        log = Log(folder, plan.trackers, run.facts(), run.images_seen) if run.processes.main else None
        if log is not None:
            stack.callback(log.close)
        stop = stack.enter_context(stop_requests())
        if run.images_seen:
            what = "Already trained on" if run.images_seen >= plan.images else "Resuming after"
            yield from speak(run, Note(f"{what} {run.images_seen} items."))
        with run.processes.together():
            yield from _steps(run, log, stop)
            run.processes.part()
        if stop.interrupted is not None:
            raise KeyboardInterrupt


def speak(run: Run, *events: Event) -> Iterator[Event]:
    """The events on the main process, none on the others."""
    if run.processes.main:
        yield from events


def _step(run: Run) -> dict[str, Tensor]:
    """One step; too little memory for it is a sentence."""
    try:
        return run.step()
    except (MemoryError, RuntimeError) as error:  # on a CPU torch has no class of its own for it
        lacking = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
        if not lacking:
            raise
        raise BadInput(
            f"The memory does not suffice for {run.recipe.batch_size} items at once; lower --batch and raise "
            "--accumulate by as much, or add --checkpointing."
        ) from error


def _steps(run: Run, log: Log | None, request: Stop) -> Iterator[Event]:
    """Steps until the end or a request to stop, with everything that is due after each."""
    plan, watch = run.plan, Watch(run)
    every = plan.look_images or plan.images
    while run.images_seen < plan.images:
        before = run.images_seen
        watch.pending.append((before, _step(run)))
        elapsed, end = time.monotonic() - watch.began, run.images_seen >= plan.images
        done = min(run.images_seen, plan.images) - watch.first
        yield from speak(run, Progress(run.recipe.name, done, plan.images - watch.first, elapsed, "image"))
        stop, save, check = watch.due(request.asked)
        if stop or save or check:
            yield from watch.report(log, watch.check(), always=stop)
        if end or before // every != run.images_seen // every:
            yield from _look(run, log)
        if stop or save:
            watch.saved = time.monotonic()
            if log is not None:
                yield run.save()
        if stop and not end:
            yield from speak(run, Note(f"Stopped after {run.images_seen} items; the same command goes on from there."))
            return


def _look(run: Run, log: Log | None) -> Iterator[Event]:
    """Figures and a sample picture of the averaged weights; nothing on other processes than the main one."""
    if log is None:
        return
    with torch.no_grad():
        figures = run.recipe.evaluate(run.shadow)
        picture = run.recipe.samples(run.shadow)
    if figures:
        log.figures(run.images_seen, figures)
    yield from (Metric(name, value, images_seen=run.images_seen) for name, value in figures.items())
    if picture is not None:
        log.picture(run.images_seen, picture)
        yield Picture(index=run.images_seen, seed=run.plan.seed, image=picture)
