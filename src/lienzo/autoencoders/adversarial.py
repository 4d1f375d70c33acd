"""Losses between an autoencoder and its discriminator, as VQGAN weighs them (Esser et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_WEIGHT = 1e4


def hinge_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """What the discriminator minimises: logits of real patches above 1, of made ones below -1. Any shapes."""
    return 0.5 * (F.relu(1 - logits_real).mean() + F.relu(1 + logits_fake).mean())


def vanilla_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """The cross-entropy of the first GAN (Goodfellow et al. 2014), in place of the hinge."""
    return 0.5 * (F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean())


def generator_loss(logits_fake: Tensor) -> Tensor:
    """What the autoencoder minimises under both losses."""
    return -logits_fake.mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor, weight: float = 1.0) -> Tensor:
    """The weight that gives the adversarial loss as much pull on the decoder's last layer as the reconstruction has.

    Args:
        reconstruction: the reconstruction loss, with its graph, which is kept.
        adversarial: `generator_loss` of the same pictures, with its graph.
        last_layer: a parameter, usually `decoder.conv_out.weight`.
        weight: what the result is multiplied by.

    Returns:
        A number without gradient, from 0 to `weight` times 10,000.
    """
    (pull,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (push,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return (pull.norm() / (push.norm() + 1e-4)).clamp(0.0, MAX_WEIGHT).detach() * weight


def delayed(weight: float, step: int, start: int) -> float:
    """0 before step `start`, `weight` from then on: the discriminator joins a half-trained autoencoder."""
    return 0.0 if step < start else weight
