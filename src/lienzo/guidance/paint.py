"""Painting: optimise any canvas with the losses of a guide."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from lienzo.core.events import Event, Metric, Note, Preview, Progress
from lienzo.guidance.canvas import Canvas, project
from lienzo.guidance.guide import Guide, View
from lienzo.guidance.optimisers import make_optimiser

DROP = 10.0  # by what a drop divides the learning rate
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
) -> Iterator[Event]:
    """Draw on a canvas, in place; `canvas.render()` is the result.

    The range loss has nothing to do on a canvas, whose pictures are in range.

    Args:
        guide: what to paint towards; of several, each for an equal share of the steps, one after the other.
        steps: of the optimiser.
        lr: its learning rate, in units of the canvas's parameters.
        optimiser: name in `OPTIMISERS`.
        drops: shares of the run, in [0, 1], after which the learning rate is a tenth of what it was. A canvas that
            grows has the first of them when it grows, if not before: what was settled small is then refined.
        patience: stop once that many steps of the last guide have not lowered the smoothed loss; 0 never stops.
        preview_every: steps between previews; 0 for none.

    Yields:
        Progress after each step, Preview of each picture, a Note when gradients were not finite or the run stops
        early, and at the end the mean of each loss over the pictures as a Metric.

    Raises:
        BadInput: there is no such optimiser.
    """
    guides = [guide] if isinstance(guide, Guide) else list(guide)
    stepper = make_optimiser(optimiser, canvas.parameters(), lr)
    grow = getattr(canvas, "grow", None)
    watch = Watch(patience)
    began, current = time.monotonic(), guides[0]
    losses: dict[str, torch.Tensor] = {}
    for step in range(1, steps + 1):
        current = guides[(step - 1) * len(guides) // steps]
        if grow is not None and grow((step - 1) / steps):
            stepper = make_optimiser(optimiser, canvas.parameters(), lr)
        for group in stepper.param_groups:
            dropped = sum((step - 1) / steps >= drop for drop in drops)
            group["lr"] = lr / DROP ** max(dropped, getattr(canvas, "grown", False))
        bad = current.nonfinite
        losses = _step(canvas, current, stepper, (step - 1) / steps)
        if current.nonfinite > bad:
            lost = current.nonfinite - bad
            yield Note(f"Step {step}: {lost} gradients were not finite and were skipped.", "warning")
        yield Progress("paint", step, steps, time.monotonic() - began)
        if preview_every and step % preview_every == 0:
            yield from _previews(canvas, step)
        if getattr(canvas, "growing", False):
            continue
        if current is guides[-1] and step < steps and watch.done(losses):
            yield Note(f"Stopped after {step} of {steps} steps: the last {patience} made it no better.")
            break
    if grow is not None:
        grow(1.0)  # a run of very few steps may not have come to the last size
    for name, loss in losses.items():
        yield Metric(name, float(loss.mean()), "guidance loss, mean over pictures, before its scale")


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


def _previews(canvas: Canvas, step: int) -> list[Preview]:
    with torch.no_grad():
        pictures = (canvas.render().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Preview(index, step, picture) for index, picture in enumerate(pictures)]
