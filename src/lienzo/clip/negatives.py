"""Contrast against the pairs of all processes: gathering that passes gradients back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


class _Gather(torch.autograd.Function):
    """Rows of all processes in order of rank; backward each process gets the sum of all gradients of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank() * ctx.count :][: ctx.count]


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
