"""The terms that variational autoencoders are made of, each for every picture of a batch.

z is a draw from the posterior N(mean, exp(log_var)); D is the length of the latent; densities are in nats. Sums over
pixels and latents are not averaged here, so that a reconstruction and a divergence of one picture can be added.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Reconstruction = Literal["mse", "bce"]


def reconstruction(x: Tensor, again: Tensor, kind: Reconstruction = "mse", scale: float = 0.5) -> Tensor:
    """How far pictures are from their originals, summed over pixels.

    Args:
        x: originals in [0, 1], (B, C, H, W).
        again: reconstructions (B, *S, C, H, W) in [0, 1]; S are draws for the same picture.
        kind: ``mse`` is `scale` times the squared error: with 0.5, minus the log density of a Gaussian of variance 1
            up to a constant; ``bce`` is the binary cross entropy.
        scale: factor of ``mse``; 1 / (2 s^2) for a Gaussian of standard deviation s.

    Returns:
        (B, *S) float32.
    """
    draws = again.ndim - x.ndim
    x = x.reshape(len(x), *[1] * draws, -1).float()
    again = again.flatten(1 + draws).float()
    if kind == "mse":
        return scale * (again - x).square().sum(-1)
    with torch.autocast(x.device.type, enabled=False):  # torch refuses this loss under autocast, even in float32
        return F.binary_cross_entropy(again, x.expand_as(again), reduction="none").sum(-1)


def gaussian_log(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log density of each latent number under its Gaussian, without the constant -log(2 pi) / 2; shapes broadcast."""
    return -0.5 * (log_var + (z - mean).square() * torch.exp(-log_var))


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) of posteriors (B, D): (B,). Kingma and Welling 2013 (arXiv 1312.6114), appendix B."""
    return -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(-1)


def mixture_log(z: Tensor, means: Tensor, log_vars: Tensor) -> Tensor:
    """Log density of z (B, D) under an even mixture of K Gaussians (K, D), without the constant: (B,)."""
    each = gaussian_log(z[:, None], means, log_vars).sum(-1)  # (B, K)
    return each.logsumexp(1) - math.log(len(means))


def vamp_kl(z: Tensor, mean: Tensor, log_var: Tensor, means: Tensor, log_vars: Tensor) -> Tensor:
    """One draw's estimate of the KL to the mixture of posteriors of pseudo-inputs: (B,).

    VampPrior: Tomczak and Welling 2017 (arXiv 1705.07120).
    """
    return gaussian_log(z, mean, log_var).sum(-1) - mixture_log(z, means, log_vars)


def log_weights(z: Tensor, mean: Tensor, log_var: Tensor, error: Tensor) -> Tensor:
    """Log importance weights log p(x, z) - log q(z|x) of draws z (B, *S, D) with their `reconstruction` errors:
    (B, *S), without the constant of the Gaussian around a reconstruction."""
    lead = (len(z), *[1] * (z.ndim - 2), -1)
    prior = -0.5 * z.square().sum(-1)
    return prior - error - gaussian_log(z, mean.reshape(lead), log_var.reshape(lead)).sum(-1)


def importance_bound(log_w: Tensor) -> Tensor:
    """The loss whose gradient is that of the importance-weighted bound over the last axis: (..., K) to (...).

    The normalised weights are constants, so the value is not the bound itself: see `importance_nll` for that.
    Burda et al. 2015 (arXiv 1509.00519), equation 13.
    """
    return -(log_w.detach().softmax(-1) * log_w).sum(-1)


def importance_nll(log_w: Tensor) -> Tensor:
    """Minus the log of the mean weight over the last axis: with many draws, minus log p(x) up to its constants."""
    return math.log(log_w.shape[-1]) - log_w.logsumexp(-1)


def total_correlation_terms(
    z: Tensor, mean: Tensor, log_var: Tensor, count: int, *, stratified: bool, as_pythae: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Mutual information, total correlation and dimension-wise KL, estimated within a batch; each (B,).

    Isolating sources of disentanglement: Chen et al. 2018 (arXiv 1802.04942).

    Args:
        z, mean, log_var: (B, D) of the batch.
        count: N, pictures in the data set.
        stratified: minibatch stratified sampling (their appendix C.2) in place of weighted sampling (C.1).
        as_pythae: place the stratified weights by columns, as pythae does, so that their rows do not follow the
            picture; for equal numbers only.
    """
    pairs = gaussian_log(z[:, None], mean, log_var)  # (B, B, D): of z_i under the posterior of x_j
    own = gaussian_log(z, mean, log_var).sum(-1)
    prior = -0.5 * z.square().sum(-1)
    if stratified:
        logs = stratified_log_weights(len(z), count, as_pythae).to(z)
        joint = (logs + pairs.sum(-1)).logsumexp(1)
        product = (logs[..., None] + pairs).logsumexp(1).sum(-1)
    else:
        share = math.log(len(z) * count)
        joint = pairs.sum(-1).logsumexp(1) - share
        product = (pairs.logsumexp(1) - share).sum(-1)
    return own - joint, joint - product, product - prior


def stratified_log_weights(batch: int, count: int, as_pythae: bool = False) -> Tensor:
    """Logarithms of what each posterior x_j stands for in the density at z_i: (B, B), each row sums to 1 before.

    z_i's own picture stands for itself alone, 1 / N; one other for the rest of the data; the remaining ones for
    1 / (B - 1) each.
    """
    others = max(batch - 1, 1)
    rest = max((count - others) / (count * others), 1e-12)
    weights = torch.full((batch, batch), 1 / others)
    if as_pythae:
        weights[:, 0] = 1 / count
        weights[:, 1 % batch] = rest
        weights[others - 1, 0] = rest
        return weights.log()
    rows = torch.arange(batch)
    weights[rows, (rows + 1) % batch] = rest
    weights[rows, rows] = 1 / count
    return weights.log()
