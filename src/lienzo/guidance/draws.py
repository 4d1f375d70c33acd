"""Random numbers for a batch of pictures, so that a picture's cutouts do not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Generators = Sequence[torch.Generator] | torch.Generator | None
"""One CPU generator a picture; or one for all pictures; or None for torch's global one."""


def picture_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator a picture."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def per_picture(generators: Generators, batch: int) -> list[torch.Generator] | None:
    """The generators as a list of one a picture, or None where all pictures share one.

    Raises:
        ValueError: there are not as many generators as pictures.
    """
    if generators is None or isinstance(generators, torch.Generator):
        return None
    if len(generators) != batch:
        raise ValueError(f"{len(generators)} generators for a batch of {batch} pictures")
    return list(generators)


def _shared(generators: Generators) -> torch.Generator | None:
    return generators if isinstance(generators, torch.Generator) else None


def uniform(generators: Generators, batch: int, *shape: int) -> Tensor:
    """Uniform in [0, 1) on the CPU: (batch, *shape)."""
    own = per_picture(generators, batch)
    if own is None:
        return torch.rand(batch, *shape, generator=_shared(generators))
    return torch.stack([torch.rand(*shape, generator=generator) for generator in own])


def normal(generators: Generators, batch: int, *shape: int) -> Tensor:
    """Standard normal on the CPU: (batch, *shape)."""
    own = per_picture(generators, batch)
    if own is None:
        return torch.randn(batch, *shape, generator=_shared(generators))
    return torch.stack([torch.randn(*shape, generator=generator) for generator in own])
