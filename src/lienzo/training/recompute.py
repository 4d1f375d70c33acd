"""Gradient checkpointing for any network: blocks are computed again in the backward pass (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

LISTS = (nn.ModuleList, nn.Sequential)


def recompute_blocks(model: nn.Module) -> int:
    """Let every block of a network forget its activations; returns how many blocks.

    A block is a child of a ModuleList or Sequential with several layers of its own, the outermost first. Blocks with
    batch norm are left alone, since computing them twice would count a batch twice.
    """
    lists = [module for module in model.modules() if isinstance(module, LISTS)]
    wrapped: set[nn.Module] = set()
    inside: set[nn.Module] = set()
    for block in (child for each in lists for child in each if not isinstance(child, nn.ModuleList)):
        if block in inside or not _is_block(block):
            continue
        inside.update(block.modules())
        wrapped.add(block)
        block.forward = _forgetful(block.forward)
    return len(wrapped)


def _is_block(module: nn.Module) -> bool:
    layers = [each for each in module.modules() if each is not module and any(True for _ in each.parameters(False))]
    return len(layers) > 1 and not any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in layers)


def _forgetful(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(partial(forward, **kwargs), *args, use_reentrant=False)

    return run
