"""Gradient caching (Gao et al., arXiv:2101.06983): a large batch in contrast, the memory of one small chunk of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def in_chunks(encode: Callable[[Tensor], Tensor], rows: Tensor, chunk: int | None, tower: nn.Module) -> Tensor:
    """`encode(rows)`, chunk by chunk; only the embeddings are kept, and the backward pass computes each chunk again.

    So the loss sees all rows at once and its gradient is that of the whole batch, also for what is outside of
    `encode`, such as the temperature, which is counted once. The second pass repeats the random draws and the
    precision of the first, and leaves the running figures of batch norms alone. Batch norms see a chunk, not the
    batch.

    Args:
        encode: from rows (n, ...) to embeddings (n, D), each row by itself but for batch norms.
        rows: (N, ...).
        chunk: rows of one pass; None for all at once, with nothing computed twice.
        tower: the module that `encode` uses.
    """
    if chunk is None or chunk >= len(rows):
        return encode(rows)
    if not torch.is_grad_enabled():
        return torch.cat([encode(some) for some in rows.split(chunk)])
    parts = [
        checkpoint(encode, some, use_reentrant=False, context_fn=lambda: (nullcontext(), norms_kept(tower)))
        for some in rows.split(chunk)
    ]
    return torch.cat([cast(Tensor, part) for part in parts])


@contextmanager
def norms_kept(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms write their running figures on copies."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    kept = [(part, name, buffer) for part in norms for name, buffer in part.named_buffers(recurse=False)]
    for part, name, buffer in kept:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in kept:
            setattr(part, name, buffer)
