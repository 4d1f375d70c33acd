"""Which timesteps a training batch visits, and the weights that keep the expected loss unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names

TIMESTEP_SAMPLERS = Names(
    "timestep sampler",
    {
        "uniform": "lienzo.diffusion.timestep_samplers:UniformSampler",
        "loss_second_moment": "lienzo.diffusion.timestep_samplers:LossSecondMomentSampler",
    },
)


class TimestepSampler(Protocol):
    """What a training step needs: timesteps with weights, and to hand their losses back."""

    num_timesteps: int

    def weights(self) -> Tensor:
        """How often each timestep is drawn, relative to the others; float64 (T,), all positive."""

    def sample(self, batch_size: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Timesteps (B,) int64 and importance weights (B,) float32 to multiply their losses with, on the CPU."""

    def update(self, timesteps: Tensor, losses: Tensor) -> None:
        """Tell the sampler the per-item losses (B,) that this process measured at `timesteps` (B,)."""

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs to continue alike."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""


class UniformSampler:
    """Every timestep equally often; all importance weights are 1."""

    def __init__(self, num_timesteps: int):
        self.num_timesteps = num_timesteps

    def weights(self) -> Tensor:
        """Ones, float64 (T,)."""
        return torch.ones(self.num_timesteps, dtype=torch.float64)

    def sample(self, batch_size: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Uniform timesteps (B,) and weights of one (B,)."""
        return draw(self.weights(), batch_size, generator)

    def update(self, timesteps: Tensor, losses: Tensor) -> None:
        """Losses do not change a uniform sampler."""

    def state_dict(self) -> dict[str, Tensor]:
        """Empty: there is no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """There is no state to load."""


class LossSecondMomentSampler:
    """Draws t in proportion to sqrt(E[loss_t^2]) over the last losses seen at each t (Improved DDPM, eq. 18).

    It lowers the variance of the gradient of the pure variational bound. Until every timestep has a full history it
    draws uniformly.

    Args:
        num_timesteps: T.
        history_per_term: losses remembered for each timestep.
        uniform_prob: share of the draws that stays uniform, so that no timestep is forgotten.
        gather: joins equally long 1-d tensors of all processes into one, the same in each process (for example
            `Accelerator.gather`); without it there is one process.
    """

    def __init__(
        self,
        num_timesteps: int,
        *,
        history_per_term: int = 10,
        uniform_prob: float = 0.001,
        gather: Callable[[Tensor], Tensor] | None = None,
    ):
        self.num_timesteps = num_timesteps
        self.uniform_prob = uniform_prob
        self.gather = gather
        self.history = torch.zeros(num_timesteps, history_per_term, dtype=torch.float64)  # oldest first
        self.counts = torch.zeros(num_timesteps, dtype=torch.int64)

    @property
    def warmed_up(self) -> bool:
        """Whether every timestep has a full history."""
        return bool((self.counts == self.history.shape[1]).all())

    def weights(self) -> Tensor:
        """Probabilities that sum to 1 once warmed up, ones before; float64 (T,)."""
        if not self.warmed_up:
            return torch.ones(self.num_timesteps, dtype=torch.float64)
        moment = self.history.square().mean(dim=1).sqrt()
        total = moment.sum()
        if not total > 0:  # every remembered loss is zero: nothing tells the timesteps apart
            return torch.full_like(moment, 1 / self.num_timesteps)
        return moment / total * (1 - self.uniform_prob) + self.uniform_prob / self.num_timesteps

    def sample(self, batch_size: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Timesteps (B,) drawn by `weights` and importance weights (B,) that average to 1 over the draws."""
        return draw(self.weights(), batch_size, generator)

    def update(self, timesteps: Tensor, losses: Tensor) -> None:
        """Remember losses (B,) at timesteps (B,), those of every process where `gather` was given.

        A loss that is not finite is left out: one would poison all the probabilities.
        """
        losses = losses.detach()
        if self.gather is not None:
            timesteps, losses = self.gather(timesteps), self.gather(losses)
        size = self.history.shape[1]
        for t, loss in zip(timesteps.tolist(), losses.double().tolist(), strict=True):
            if not math.isfinite(loss):
                continue
            if self.counts[t] == size:
                self.history[t] = self.history[t].roll(-1)
                self.history[t, -1] = loss
            else:
                self.history[t, self.counts[t]] = loss
                self.counts[t] += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The history (T, history_per_term) float64 and how much of each row is filled (T,) int64."""
        return {"history": self.history.clone(), "counts": self.counts.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved history.

        Raises:
            BadInput: it was saved with another number of timesteps or another history length.
        """
        if state["history"].shape != self.history.shape:
            raise BadInput(
                f"The saved loss history has shape {tuple(state['history'].shape)}, this run needs "
                f"{tuple(self.history.shape)}; resume with the same diffusion steps and history length."
            )
        self.history = state["history"].to("cpu", torch.float64, copy=True)
        self.counts = state["counts"].to("cpu", torch.int64, copy=True)


def importance_weights(weights: Tensor) -> Tensor:
    """1 / (T p_t) for p = weights / sum(weights), float64 (T,): a loss so weighted has the uniform expectation."""
    return weights.sum() / (len(weights) * weights)


def draw(weights: Tensor, batch_size: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Timesteps (B,) int64 drawn in proportion to `weights` (T,), and their importance weights (B,) float32."""
    timesteps = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
    return timesteps, importance_weights(weights)[timesteps].float()


def timesteps_at(weights: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """As `draw`, for numbers u (B,) uniform in [0, 1) that were drawn elsewhere: where the cumulative weights pass u.

    A batch can so be drawn before the weights of its step are known. The results are on the device of u.
    """
    shares = (weights.cumsum(0) / weights.sum()).to(u.dtype).to(u.device)
    timesteps = torch.searchsorted(shares, u, right=True).clamp(max=len(weights) - 1)
    return timesteps, importance_weights(weights).float().to(u.device)[timesteps]
