"""What the loop asks of a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Generator, Tensor, nn

Batch = dict[str, Tensor]
Gather = Callable[[Tensor], Tensor]


class Recipe(ABC):
    """One way of training one network. It holds its data and knows nothing of devices, processes, EMA or files.

    `build`, `batch` and `step` are needed; the rest have defaults. `batch` must be a pure function of its arguments,
    for the loop calls it ahead of time from another thread, and `step` must call the network itself (not one of its
    methods), for with several processes it is wrapped.

    Attributes:
        name: the recipe's name in progress and in checkpoints.
        network: the name in `weights.models.NETWORKS` under which the trained network is saved.
        batch_size: items of one forward pass of one process.
    """

    name: ClassVar[str]
    network: ClassVar[str]
    batch_size: int

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, freshly initialised (the loop seeds torch before the call)."""

    @abstractmethod
    def batch(self, start: int, generator: Generator) -> Batch:
        """Items `start` to `start + batch_size` of the endless order of training items, on the CPU.

        Every random choice comes from `generator`, which the loop seeds from the run's seed and `start`. Processes
        and accumulated passes ask for consecutive ranges.
        """

    @abstractmethod
    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses; their sum is minimised."""

    def learn(self, gather: Gather) -> None:  # noqa: B027
        """Called after each optimiser step, e.g. to tell a timestep sampler its losses. `gather` joins a tensor's
        rows over all processes in order of rank (and returns it as it is where there is one)."""

    def project(self, model: nn.Module) -> None:  # noqa: B027
        """Called on the unwrapped network after each optimiser step, e.g. to clamp a parameter."""

    def state(self) -> dict[str, Tensor]:
        """What besides weights a resumed run needs; stored in each checkpoint."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Continue from a `state`."""

    def facts(self) -> dict[str, Any]:
        """What decides the outcome besides the plan, as JSON: options, batch size, fingerprint of the data.

        A run resumes only when they are unchanged; otherwise the loop says which differ.
        """
        return {"batch_size": self.batch_size}

    def export(self, model: nn.Module) -> nn.Module:
        """The network to be saved, from the averaged one: itself, unless e.g. adapters must be merged first."""
        return model

    def imported(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A saved network's weights by their names in the one that is trained: the way back of `export`."""
        return state

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on withheld data, by name with protocol, e.g. ``psnr[rgb]``; may be empty."""
        return {}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """A uint8 picture (H, W, 3) that shows what the network can do now, from fixed seeds; or None."""
        return None
