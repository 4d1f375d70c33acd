"""Contrast against the pairs of all processes: gathering that passes gradients back, and gathering that does not."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist


class Sides(NamedTuple):
    """The rows that ask and the rows among which they find their answer."""

    own: Tensor
    all: Tensor


class _Gather(torch.autograd.Function):
    """Rows of all processes in order of rank; backward each process gets the sum of all gradients of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        return torch.cat(_rows_of_each(rows))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank() * ctx.count :][: ctx.count]


def _rows_of_each(rows: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return parts


def several_processes() -> bool:
    """Whether this process has peers."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (N, ...) of all processes, (processes * N, ...) in order of rank; every process must call it alike.

    Gradients flow back to the process that a row came from, summed over all. Where gradients of parameters are then
    averaged over processes, as DistributedDataParallel does, and each process's loss is the mean over its own rows,
    the result is the gradient of the mean over all rows.
    """
    return _Gather.apply(rows) if several_processes() else rows


def sides(rows: Tensor, local_loss: bool = True, gather_with_grad: bool = True) -> Sides:
    """Both sides of the contrast, under OpenCLIP's names for the ways to have it.

    With gradients, both values of `local_loss` give the gradient of the whole batch; the local one needs the logits of
    a process's own rows only. Without, nothing is exchanged in the backward pass: then the whole loss gives each
    process its share of the gradient, so that their average is too small by the number of processes, and the local
    one lets no gradient through the side of the answers.

    Args:
        rows: (N, ...) of this process.
        local_loss: whether a process asks for its own rows, or for all.
        gather_with_grad: whether gradients flow back to the processes that the rows came from.
    """
    if not several_processes():
        return Sides(rows, rows)
    if gather_with_grad:
        everywhere = gather_rows(rows)
    else:
        parts = _rows_of_each(rows.detach())
        if not local_loss:
            parts[dist.get_rank()] = rows
        everywhere = torch.cat(parts)
    return Sides(rows if local_loss else everywhere, everywhere)
