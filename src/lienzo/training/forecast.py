"""What a training will cost, before it begins: one small step is measured, the rest is arithmetic."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lienzo.training.plan import Training
from lienzo.training.recipe import Recipe
from lienzo.training.recompute import recompute_blocks
from lienzo.training.state import HALF, fresh

PROBE = 4  # items of the measured step


@dataclass(frozen=True)
class Forecast:
    """Parameters, bytes and seconds of a run on this machine.

    Attributes:
        parameters, trained: numbers in the network, and how many of them learn.
        weights: bytes of weights, gradients, the optimiser's two moments and the averages.
        activations: bytes kept between the forward and backward pass of one batch.
        seconds: of the whole run, by the pace of the measured step.
    """

    parameters: int
    trained: int
    weights: int
    activations: int
    seconds: float


def forecast(recipe: Recipe, plan: Training) -> Forecast:
    """Measure steps of a few items on the CPU (or CUDA) and scale them to the plan; the recipe is left as it was.

    Bytes that do not grow with the items, such as weights that a LoRA has changed, are told apart by a step of fewer
    items. Of a recipe with a `chunk`, the activations of one chunk are held and of each item what lies outside it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = fresh(recipe, plan).to(device).train()
    if plan.checkpointing:
        recompute_blocks(model)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    numbers, trained = sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns)
    whole, chunk = recipe.batch_size, getattr(recipe, "chunk", None)
    few = min(PROBE, whole)

    def held(items: int, at_once: int, chunked: int | None = None) -> tuple[float, float]:
        """Bytes for `at_once` items, by two steps, and seconds for `items`."""
        if chunk is not None:
            recipe.chunk = chunked  # type: ignore[attr-defined]
        recipe.batch_size = few
        kept, seconds = _probe(recipe, plan, model, device)
        recipe.batch_size = max(few // 2, 1)
        less = kept if few == 1 else _probe(recipe, plan, model, device)[0]
        each = kept if few == 1 else (kept - less) / (few - few // 2)
        return kept + each * (at_once - few), seconds * items / few

    try:
        kept, seconds = held(whole, whole if chunk is None else min(chunk, whole))
        if chunk is not None and chunk < whole:
            outside, seconds = held(whole, whole, 1)
            kept += outside
    finally:
        recipe.batch_size = whole
        if chunk is not None:
            recipe.chunk = chunk  # type: ignore[attr-defined]
    weights = 4 * (numbers * (1 + len(plan.ema_half_lives)) + 3 * trained)
    return Forecast(numbers, trained, weights, max(round(kept), 0), seconds * plan.images / whole)


def _probe(recipe: Recipe, plan: Training, model: nn.Module, device: torch.device) -> tuple[int, float]:
    """Bytes of activations and seconds of a step; the second of two steps is timed."""
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    began = 0.0
    for _ in range(2):
        began = time.perf_counter()
        kept.clear()
        batch = recipe.batch(0, torch.Generator().manual_seed(plan.seed))
        batch = {key: value.to(device) for key, value in batch.items()}
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast(device.type, HALF.get(plan.precision), enabled=plan.precision in HALF),
        ):
            losses = recipe.step(model, batch)
        torch.stack(list(losses.values())).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return sum(kept.values()), time.perf_counter() - began
