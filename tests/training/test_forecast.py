"""What a dry run says of memory is what a step holds, also where only part of a batch is held or some does not grow."""

from __future__ import annotations

import pytest
import torch
from lines import PLAN, Line
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lienzo.training.forecast import forecast

SIDE = 64


class Wide(nn.Module):
    """Its weight is changed before each use, as a LoRA does: what is kept of that does not grow with the items."""

    def __init__(self, fixed: bool):
        super().__init__()
        self.weight, self.fixed = nn.Parameter(torch.randn(SIDE, SIDE)), fixed

    def forward(self, x: Tensor, chunk: int | None) -> Tensor:
        if chunk is None or chunk >= len(x):
            return self.one(x)
        return torch.cat([checkpoint(self.one, some, use_reentrant=False) for some in x.split(chunk)])

    def one(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()  # so that the changed weight is kept for its gradient
        return ((x @ (self.weight * 2 if self.fixed else self.weight)) ** 2).sum(1, keepdim=True)


class Chunked(Line):
    def __init__(self, batch_size: int, chunk: int | None = None, fixed: bool = False):
        super().__init__(batch_size)
        self.chunk, self.fixed = chunk, fixed

    def build(self) -> nn.Module:
        return Wide(self.fixed)

    def batch(self, start: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"x": torch.randn(self.batch_size, SIDE, generator=generator)}

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": (model(batch["x"], self.chunk) ** 2).mean()}


def activations(*given: object) -> int:
    recipe = Chunked(*given)  # type: ignore[arg-type]
    found = forecast(recipe, PLAN).activations
    assert (recipe.batch_size, recipe.chunk) == given[:2], "left as it was"
    return found


def test_a_whole_batch_grows_with_its_items() -> None:
    assert activations(400, None) == pytest.approx(100 * activations(4, None), rel=0.05)


def test_a_chunk_is_held_and_not_the_batch() -> None:
    whole, chunked = activations(400, None), activations(400, 40)
    inputs = 400 * SIDE * 4
    assert whole / 10 < chunked < whole / 10 + inputs * 1.1


def test_what_does_not_grow_is_counted_once() -> None:
    changed, plain = activations(400, None, True), activations(400, None, False)
    assert changed - plain <= SIDE * SIDE * 4 * 1.05
