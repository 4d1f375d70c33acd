"""Where codes for new pictures come from: distributions fitted to the codes of the training pictures.

An autoencoder that is not variational says nothing of how its codes lie, and a variational one's do not quite follow
its prior; a density fitted afterwards mends both (Ghosh et al. 2020, arXiv 1903.12436). A prior is a module, so it is
saved with the network. It turns noise into codes, so that code i depends on its own noise alone.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.nn.noise import PictureNoise

PriorKind = Literal["normal", "mixture", "vamp", "flow"]
FLOOR = 1e-6
"""Added to variances, relative to the mean variance, so that codes that lie in a plane have a density."""
FLOW_STEPS, FLOW_BATCH, FLOW_RATE = 600, 256, 2e-3


class Prior(nn.Module, ABC):
    """A distribution of codes (D,), with `config` from which `make_prior` makes it again."""

    config: dict[str, Any]

    @abstractmethod
    def forward(self, noise: Tensor) -> Tensor:
        """Standard normal noise (B, D + 1) to codes (B, D); the last number chooses where there are parts."""


class Mixture(Prior):
    """K Gaussians with full covariances; one of them is the normal sampler.

    Args:
        latent: D.
        components: K.
    """

    def __init__(self, latent: int, components: int):
        super().__init__()
        self.config = {"kind": "mixture", "components": components}
        self.register_buffer("shares", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, latent))
        self.register_buffer("roots", torch.eye(latent).repeat(components, 1, 1))  # lower triangles of the covariances
        self.shares: Tensor
        self.means: Tensor
        self.roots: Tensor

    def forward(self, noise: Tensor) -> Tensor:
        place = torch.special.ndtr(noise[:, -1])
        chosen = torch.searchsorted(self.shares.cumsum(0), place).clamp(max=len(self.shares) - 1)
        return self.means[chosen] + torch.einsum("bij,bj->bi", self.roots[chosen], noise[:, :-1])


class Flow(Prior):
    """A masked autoregressive flow (Papamakarios et al. 2017, arXiv 1705.07057) of the library zuko.

    Args:
        latent: D.
        transforms: autoregressive steps.
        hidden: widths of each step's layers.

    Raises:
        BadInput: zuko is not installed.
    """

    def __init__(self, latent: int, transforms: int = 3, hidden: Sequence[int] = (128, 128)):
        super().__init__()
        require_sampler("flow")
        self.config = {"kind": "flow", "transforms": transforms, "hidden": list(hidden)}
        flows = import_module("zuko.flows")
        self.flow = flows.MAF(latent, transforms=transforms, hidden_features=list(hidden))
        self.register_buffer("shift", torch.zeros(latent))
        self.register_buffer("scale", torch.ones(latent))
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, noise: Tensor) -> Tensor:
        return self.flow().transform.inv(noise[:, :-1]) * self.scale + self.shift

    def nll(self, z: Tensor) -> Tensor:
        """Minus the log density of codes (B, D) after they are scaled to unit variance: (B,)."""
        return -self.flow().log_prob((z - self.shift) / self.scale)


def require_sampler(kind: str) -> None:
    """Raises BadInput where the library that fits a kind of prior is not installed."""
    if kind == "flow" and find_spec("zuko") is None:
        raise BadInput("A flow over codes needs the library zuko: pip install 'lienzo[flow]'.")
    if kind == "mixture" and find_spec("sklearn") is None:
        raise BadInput("Fitting a Gaussian mixture to codes needs scikit-learn: pip install 'lienzo[probe]'.")


def make_prior(config: Mapping[str, Any], latent: int) -> Prior:
    """The module that a `config` describes, with no fitted numbers yet.

    Raises:
        BadWeights: the description is of no kind that is known.
        BadInput: it needs a library that is not installed.
    """
    kind = config.get("kind")
    if kind == "mixture":
        return Mixture(latent, int(config.get("components", 1)))
    if kind == "flow":
        hidden = [int(width) for width in config.get("hidden", (128, 128))]
        return Flow(latent, int(config.get("transforms", 3)), hidden)
    raise BadWeights(f"The model's prior is of an unknown kind '{kind}'.")


def fit_normal(z: Tensor) -> Mixture:
    """One Gaussian with the mean and covariance of codes (N, D)."""
    prior = Mixture(z.shape[1], 1)
    z = z.double()
    centred = z - z.mean(0)
    covariance = centred.T @ centred / max(len(z) - 1, 1)
    prior.means.copy_(z.mean(0)[None])
    prior.roots.copy_(root(covariance)[None])
    return prior


def fit_mixture(z: Tensor, components: int = 10, seed: int = 0) -> Mixture:
    """Gaussians fitted by expectation maximisation to codes (N, D).

    Raises:
        BadInput: scikit-learn is not installed, or there are fewer codes than twice the components.
    """
    require_sampler("mixture")
    if len(z) < 2 * components:
        raise BadInput(f"{components} Gaussians need at least {2 * components} pictures to be fitted to, not {len(z)}.")
    sklearn = import_module("sklearn.mixture")
    rows = z.double().cpu().numpy()
    floor = FLOOR * float(rows.var(0).mean()) + 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unfinished fit is a good one too
        fitted = sklearn.GaussianMixture(components, reg_covar=floor, random_state=seed, max_iter=200).fit(rows)
    prior = Mixture(z.shape[1], components)
    prior.shares.copy_(torch.from_numpy(fitted.weights_))
    prior.means.copy_(torch.from_numpy(fitted.means_))
    prior.roots.copy_(torch.stack([root(torch.from_numpy(each)) for each in fitted.covariances_]))
    return prior


def vamp_prior(means: Tensor, log_vars: Tensor) -> Mixture:
    """The even mixture of the posteriors of K pseudo-inputs, (K, D) each, as a prior that needs no encoder."""
    prior = Mixture(means.shape[1], len(means))
    prior.means.copy_(means)
    prior.roots.copy_(torch.diag_embed(torch.exp(0.5 * log_vars)))
    return prior


def fit_flow(z: Tensor, seed: int = 0, steps: int = FLOW_STEPS) -> Flow:
    """A flow trained on codes (N, D) by maximum likelihood with Adam, in some seconds.

    Raises:
        BadInput: zuko is not installed.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        prior = Flow(z.shape[1])
        z = z.detach().float().cpu()
        prior.shift.copy_(z.mean(0))
        prior.scale.copy_(z.std(0).clamp(min=1e-3 * z.std().item() + 1e-8))
        optimizer = torch.optim.Adam(prior.parameters(), lr=FLOW_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            loss = prior.nll(z[torch.randint(len(z), (FLOW_BATCH,))]).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return prior.eval().requires_grad_(False)


def root(covariance: Tensor) -> Tensor:
    """The lower triangle L with L L^T the covariance (D, D), which may lie in a plane."""
    size = len(covariance)
    floor = max(FLOOR * covariance.diagonal().mean().item(), 1e-12)
    return torch.linalg.cholesky(covariance + floor * torch.eye(size, dtype=covariance.dtype))


def draw_codes(prior: Prior | None, latent: int, seeds: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """One code for each seed, from `prior` or, where it is None, from N(0, I): (len(seeds), latent)."""
    noise = PictureNoise(seeds)(torch.empty(len(seeds), latent + 1)).to(device)
    return noise[:, :-1] if prior is None else prior(noise)


def mean_nll(prior: Mixture, z: Tensor) -> float:
    """Mean of minus the log density of codes (N, D) under a mixture, in nats."""
    solved = torch.linalg.solve_triangular(prior.roots, (z[:, None] - prior.means)[..., None], upper=False)[..., 0]
    volume = prior.roots.diagonal(dim1=1, dim2=2).log().sum(1)
    each = -0.5 * solved.square().sum(-1) - volume - 0.5 * z.shape[1] * math.log(2 * math.pi)
    return -(each + prior.shares.log()).logsumexp(1).mean().item()
