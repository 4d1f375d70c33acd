"""Chunk by chunk the gradient is that of the batch, with one chunk's activations in memory."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import Tensor, nn

from lienzo.clip.caching import in_chunks


def grown(chunk: int | None, tower: nn.Module, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Embeddings and gradients of a loss that mixes all rows; the same random draws every time."""
    tower = copy.deepcopy(tower)
    torch.manual_seed(5)
    found = in_chunks(tower, rows, chunk, tower)
    (found @ found.T).logsumexp(1).mean().backward()
    return found.detach(), [parameter.grad for parameter in tower.parameters() if parameter.grad is not None]


@pytest.fixture
def rows() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(12, 6)


@pytest.mark.parametrize("chunk", [1, 5, 12, 20])
def test_any_chunk_gives_the_gradient_of_the_batch(rows: Tensor, chunk: int) -> None:
    tower = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 4))
    whole, parts = grown(None, tower, rows), grown(chunk, tower, rows)
    torch.testing.assert_close(parts, whole)


def test_the_second_pass_repeats_the_draws_of_the_first(rows: Tensor) -> None:
    tower = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 4))
    again = copy.deepcopy(tower)
    _, gradients = grown(4, tower, rows)
    torch.manual_seed(5)
    found = torch.cat([again(some) for some in rows.split(4)])  # the draws of three passes, all kept
    (found @ found.T).logsumexp(1).mean().backward()
    torch.testing.assert_close(gradients, [parameter.grad for parameter in again.parameters()])
    torch.manual_seed(6)
    assert not torch.allclose(found, torch.cat([again(some) for some in rows.split(4)])), "the draws matter"


def test_precision_is_repeated(rows: Tensor) -> None:
    tower = nn.Linear(6, 4)
    kinds = []

    def encode(some: Tensor) -> Tensor:
        kinds.append(torch.is_autocast_enabled("cpu"))
        return tower(some).float()

    with torch.autocast("cpu", torch.bfloat16):
        found = in_chunks(encode, rows, 6, tower)
    found.square().sum().backward()
    assert kinds == [True] * 4


def test_batch_norms_count_each_chunk_once(rows: Tensor) -> None:
    tower = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    plain = copy.deepcopy(tower)
    for some in rows.split(4):
        plain(some)
    expected = dict(plain.named_buffers())
    buffers = dict(tower.named_buffers())
    in_chunks(tower, rows, 4, tower).square().sum().backward()
    assert int(buffers["1.num_batches_tracked"]) == 3
    for name, buffer in tower.named_buffers():
        assert buffer is buffers[name]
        torch.testing.assert_close(buffer, expected[name])


def test_one_chunk_at_a_time_is_in_memory(rows: Tensor) -> None:
    alive: set[int] = set()
    most = []

    class Heavy(torch.autograd.Function):
        """Counts the passes that keep something for their backward pass."""

        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
            held = x.clone()
            alive.add(id(held))
            weakref.finalize(held, alive.discard, id(held))
            ctx.save_for_backward(held)
            return x * 1

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
            (held,) = ctx.saved_tensors
            most.append(len(alive))
            return grad * held

    tower = nn.Linear(6, 4)

    def encode(some: Tensor) -> Tensor:
        return Heavy.apply(tower(some))

    for chunk, kept in ((None, [1]), (3, [1] * 4)):
        most.clear()
        found = in_chunks(encode, rows, chunk, tower)
        assert len(alive) == (chunk is None), "after the forward pass"
        found.square().sum().backward()
        assert most == kept
    plain = torch.cat([encode(some) for some in rows.split(3)])
    assert len(alive) == 4, "what it would be without"
    del plain


def test_without_gradients_nothing_is_computed_twice(rows: Tensor) -> None:
    tower, passes = nn.Linear(6, 4), []

    def encode(some: Tensor) -> Tensor:
        passes.append(len(some))
        return tower(some)

    with torch.no_grad():
        torch.testing.assert_close(in_chunks(encode, rows, 5, tower), tower(rows))
    assert passes == [5, 5, 2]
