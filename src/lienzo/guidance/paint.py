"""Painting: optimise any canvas with the losses of a guide."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from lienzo.core.events import Event, Metric, Note, Preview, Progress
from lienzo.guidance.canvas import Canvas, project
from lienzo.guidance.guide import Guide, View
from lienzo.guidance.optimisers import make_optimiser

DROP = 10.0  # by what a drop divides the learning rate
REFINING = 30
"""Steps of a grown canvas at the full refining rate; of more, each is smaller, so that a long run goes no further."""
SMOOTHING = 0.9  # of the loss that early stopping watches: each step's cutouts make it noisy
ENOUGH = 1e-3  # share of the loss that counts as better


def paint(
    canvas: Canvas,
    guide: Guide | Sequence[Guide],
    *,
    steps: int = 200,
    lr: float = 0.05,
    optimiser: str = "adam",
    drops: Sequence[float] = (),
    patience: int = 0,
    preview_every: int = 0,
    turn: Callable[[Guide], None] | None = None,
) -> Iterator[Event]:
    """Draw on a canvas, in place; `canvas.render()` is the result, in range without any range loss.

    Args:
        guide: what to paint towards. Several are the chapters of a story: each in turn has an equal share of the
            steps, a new optimiser, and its own course of the learning rate, the canvas's sizes and the guide's veil.
        steps: of the optimiser.
        lr: its learning rate, in units of the canvas's parameters.
        optimiser: name in `OPTIMISERS`.
        drops: shares of a chapter, in [0, 1], after which the learning rate is a tenth of what it was. A canvas that
            grows has the first when it grows, if not before, and comes to rest from there: that only refines.
        patience: stop once that many steps of the last guide have not lowered the smoothed loss; 0 never stops.
        preview_every: steps between previews; 0 for none.
        turn: called with the guide of each chapter but the first, before it is painted; may change the canvas.

    Yields:
        Progress after each step, Preview of each picture, a Note when gradients were not finite or the run stops
        early, and at the end the mean of each loss over the pictures as a Metric.

    Raises:
        BadInput: there is no such optimiser.
    """
    guides = [guide] if isinstance(guide, Guide) else list(guide)
    grow = getattr(canvas, "grow", lambda progress: False)
    watch, began = Watch(patience), time.monotonic()
    losses: dict[str, torch.Tensor] = {}
    for step in range(1, steps + 1):
        chapter, done = divmod((step - 1) * len(guides), steps)
        current, progress = guides[chapter], done / steps
        begins = done < len(guides)  # the first step of a chapter
        if turn and chapter and begins:
            turn(current)
        if grow(progress) or begins:
            stepper = make_optimiser(optimiser, canvas.parameters(), lr)
        for group in stepper.param_groups:
            group["lr"] = lr * _pace(progress, getattr(canvas, "grown", None), drops, steps / len(guides))
        before = current.nonfinite
        losses = _step(canvas, current, stepper, progress)
        if lost := current.nonfinite - before:
            yield Note(f"Step {step}: {lost} gradients were not finite and were skipped.", "warning")
        yield Progress("paint", step, steps, time.monotonic() - began)
        yield from _previews(canvas, step, preview_every)
        watched = current is guides[-1] and not getattr(canvas, "growing", False)
        if watched and step < steps and watch.done(losses):
            yield Note(f"Stopped after {step} of {steps} steps: the last {patience} made it no better.")
            break
    grow(1.0)  # a run of very few steps may not have come to the last size
    yield from _means(losses)


class Watch:
    """Says when a smoothed loss has not become better for `patience` steps; never for 0.

    The loss is that of the prompts; without prompts it is the sum of all losses.
    """

    def __init__(self, patience: int):
        self.patience = patience
        self.mean, self.weight = 0.0, 0.0
        self.best, self.since = float("inf"), 0

    def done(self, losses: dict[str, torch.Tensor]) -> bool:
        """Take in one step's losses."""
        if not self.patience or not losses:
            return False
        now = losses["prompts"] if "prompts" in losses else torch.stack(list(losses.values())).sum(0)
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * float(now.mean())
        self.weight = SMOOTHING * self.weight + 1 - SMOOTHING
        value = self.mean / self.weight
        if value < self.best - ENOUGH * abs(value):
            self.best, self.since = value, 0
        else:
            self.since += 1
        return self.since >= self.patience


def _pace(progress: float, grown: float | None, drops: Sequence[float], steps: float) -> float:
    """The learning rate as a share of the first.

    Args:
        progress: share of the chapter that is over, in [0, 1).
        grown: that at which the canvas had grown; None while it has not.
        drops: as of `paint`.
        steps: of the chapter.
    """
    dropped = sum(progress >= drop for drop in drops)
    if grown is None:
        return DROP**-dropped
    refining = steps * (1 - grown)
    return DROP ** -max(dropped, 1) * (1 - progress) / (1 - grown) * min(REFINING / refining, 1.0)


def _step(canvas: Canvas, guide: Guide, optimiser: torch.optim.Optimizer, progress: float) -> dict[str, torch.Tensor]:
    parameters = canvas.parameters()
    with torch.enable_grad():
        picture = canvas.render() * 2 - 1
        pull = guide.pull(View(picture, picture, progress=progress))
        grads = torch.autograd.grad(picture, parameters, guide.finite(pull.picture))
    for parameter, grad in zip(parameters, grads):
        parameter.grad = guide.finite(grad)
    optimiser.step()
    project(canvas)
    return pull.losses


def _means(losses: dict[str, torch.Tensor]) -> list[Metric]:
    note = "guidance loss, mean over pictures, before its scale"
    return [Metric(name, float(loss.mean()), note) for name, loss in losses.items()]


def _previews(canvas: Canvas, step: int, every: int) -> list[Preview]:
    if not every or step % every:
        return []
    with torch.no_grad():
        pictures = (canvas.render().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Preview(index, step, picture) for index, picture in enumerate(pictures)]
