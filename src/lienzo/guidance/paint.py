"""Painting: optimise any canvas with the losses of a guide."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from lienzo.core.events import Event, Metric, Note, Preview, Progress
from lienzo.guidance.canvas import Canvas
from lienzo.guidance.guide import Guide, View


def paint(
    canvas: Canvas, guide: Guide, *, steps: int = 200, lr: float = 0.05, preview_every: int = 0
) -> Iterator[Event]:
    """Draw on a canvas, in place, by Adam; `canvas.render()` is the result.

    The range loss has nothing to do on a canvas, whose pictures are in range.

    Args:
        steps: of the optimiser.
        lr: its learning rate, in units of the canvas's parameters.
        preview_every: steps between previews; 0 for none.

    Yields:
        Progress after each step, Preview of each picture, a Note when gradients were not finite, and at the end
        the mean of each loss over the pictures as a Metric.
    """
    optimiser = torch.optim.Adam(canvas.parameters(), lr=lr, betas=(0.9, 0.99))
    began = time.monotonic()
    losses: dict[str, torch.Tensor] = {}
    for step in range(1, steps + 1):
        bad = guide.nonfinite
        losses = _step(canvas, guide, optimiser, (step - 1) / steps)
        if guide.nonfinite > bad:
            yield Note(f"Step {step}: {guide.nonfinite - bad} gradients were not finite and were skipped.", "warning")
        yield Progress("paint", step, steps, time.monotonic() - began)
        if preview_every and step % preview_every == 0:
            yield from _previews(canvas, step)
    for name, loss in losses.items():
        yield Metric(name, float(loss.mean()), "guidance loss, mean over pictures, before its scale")


def _step(canvas: Canvas, guide: Guide, optimiser: torch.optim.Optimizer, progress: float) -> dict[str, torch.Tensor]:
    parameters = canvas.parameters()
    with torch.enable_grad():
        picture = canvas.render() * 2 - 1
        pull = guide.pull(View(picture, picture, progress=progress))
        grads = torch.autograd.grad(picture, parameters, guide.finite(pull.picture))
    for parameter, grad in zip(parameters, grads):
        parameter.grad = guide.finite(grad)
    optimiser.step()
    project = getattr(canvas, "project", None)
    if project is not None:
        project()
    return pull.losses


def _previews(canvas: Canvas, step: int) -> list[Preview]:
    with torch.no_grad():
        pictures = (canvas.render().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Preview(index, step, picture) for index, picture in enumerate(pictures)]
