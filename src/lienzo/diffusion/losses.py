"""Divergences and likelihoods of Gaussians, the parts of the variational bound of diffusion models."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mean_flat(x: Tensor) -> Tensor:
    """Mean over all but the first axis: (B, ...) -> (B,)."""
    return x.flatten(1).mean(dim=1)


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL(N(mean1, e^log_variance1) || N(mean2, e^log_variance2)) of each element, in nats; shapes broadcast."""
    return 0.5 * (
        -1.0
        + log_variance2
        - log_variance1
        + torch.exp(log_variance1 - log_variance2)
        + (mean1 - mean2) ** 2 * torch.exp(-log_variance2)
    )


def discretized_gaussian_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability, in nats, of 8-bit pixels x under a Gaussian integrated over each pixel's bin.

    Bins are 2/255 wide; those of black and white reach to infinity (DDPM, Ho et al. 2020, section 3.3).

    Args:
        x: pixel values in [-1, 1], any shape.
        mean, log_scale: mean and log of the standard deviation, the shape of x.
    """
    centered, inverse_scale = x - mean, torch.exp(-log_scale)
    below_upper = _normal_cdf(inverse_scale * (centered + 1 / 255))
    below_lower = _normal_cdf(inverse_scale * (centered - 1 / 255))
    # The floor keeps the logarithm and its gradient finite where float32 rounds a probability to zero.
    black = below_upper.clamp(min=1e-12).log()
    white = (1 - below_lower).clamp(min=1e-12).log()
    between = (below_upper - below_lower).clamp(min=1e-12).log()
    return torch.where(x < -0.999, black, torch.where(x > 0.999, white, between))


def _normal_cdf(x: Tensor) -> Tensor:
    """The tanh approximation of the standard normal distribution function that the published NLLs rest on."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
