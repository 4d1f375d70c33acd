"""What a codebook needs besides gradients: its first codes, new ones in place of dead ones, or moving averages.

A code that no feature is near gets no gradient and would stay where it is. It is put where some feature of the batch is
(Dhariwal et al. 2020, "Jukebox"); at the start that is every code. Moving averages: van den Oord et al. 2017, appendix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Gather = Callable[[Tensor], Tensor]


class CodebookCare:
    """Follows the use of a codebook from step to step; the same on every process.

    Args:
        codes: rows of the codebook.
        memory: steps after which what was seen has faded to a third.
        dead: a code is dead when it is used less than this share of the average; 0 to keep all.
        averaged: whether codes are the means of their features instead of learning by gradients.
    """

    def __init__(self, codes: int, *, memory: float = 100.0, dead: float = 0.03, averaged: bool = False):
        self.codes, self.decay, self.dead, self.averaged = codes, 1 - 1 / max(memory, 1.0), dead, averaged
        self._noted: dict[str, Tensor] = {}
        self._state: dict[str, Tensor] = {}

    @torch.no_grad()
    def note(self, features: Tensor, indices: Tensor) -> None:
        """What a forward pass has seen: features (B, D, h, w) and their codes' indices, in the same order."""
        vectors = features.detach().float().permute(0, 2, 3, 1).flatten(0, 2)  # (M, D)
        indices = indices.flatten()
        found = {"counts": torch.bincount(indices, minlength=self.codes).float()}
        if self.averaged:
            found["sums"] = vectors.new_zeros(self.codes, vectors.shape[1]).index_add_(0, indices, vectors)
        for name, value in found.items():
            self._noted[name] = self._noted[name] + value if name in self._noted else value
        chosen = torch.randint(len(vectors), (self.codes,), device=vectors.device)
        self._noted["pool"] = vectors[chosen]

    def join(self, gather: Gather) -> None:
        """Put together what all processes have noted since the last time."""
        if not self._noted:
            return
        for name, value in self._noted.items():
            rows = gather(value[None])  # (processes, ...)
            self._state[name] = rows[int(len(rows) > 1 and self._turn(len(rows)))] if name == "pool" else rows.sum(0)
        self._noted = {}

    def _turn(self, processes: int) -> int:
        """Whose features are offered this time."""
        return int(self._state["counts"].sum().item()) % processes if "counts" in self._state else 0

    @torch.no_grad()
    def apply(self, codebook: Tensor) -> None:
        """Follow what was put together last, and change the codebook (N, D) in place."""
        if "counts" not in self._state:
            return
        here = {name: value.to(codebook.device) for name, value in self._state.items()}
        share = here["counts"] / here["counts"].sum().clamp_min(1)
        even = 1 / self.codes
        use = here["use"] * self.decay + share * (1 - self.decay) if "use" in here else torch.zeros_like(share)
        if self.averaged and "use" in here:
            for name, now in (("size", here["counts"]), ("mass", here["sums"])):
                here[name] = here[name] * self.decay + now * (1 - self.decay)
            known = here["size"] > 1e-3
            means = here["mass"] / here["size"].clamp_min(1e-3)[:, None]
            codebook.copy_(torch.where(known[:, None], means.to(codebook.dtype), codebook))
        gone = use < self.dead * even if "use" in here else torch.ones_like(use, dtype=torch.bool)
        fresh = here["pool"].to(codebook.dtype)
        codebook.copy_(torch.where(gone[:, None], fresh, codebook))
        here["use"] = torch.where(gone, even, use)
        if self.averaged:
            size = here.get("size", torch.ones_like(use)).where(~gone, 1.0)
            mass = here.get("mass", fresh.float())
            here |= {"size": size, "mass": torch.where(gone[:, None], fresh.float(), mass)}
        self._state = {name: here[name] for name in here if name in ("use", "size", "mass")}

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {f"codebook.{name}": value.detach().cpu().clone() for name, value in self._state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state`."""
        start = "codebook."
        self._state = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
