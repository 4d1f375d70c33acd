"""The networks that draw numbered classes, each as `denoised = model(x, sigma, y=labels)`."""

from __future__ import annotations

from torch import nn

from lienzo.core.errors import BadInput
from lienzo.diffusion.classcond_unet import ClassCondUnet
from lienzo.diffusion.denoiser import DiscreteDenoiser, EDMDenoiser, FlowDenoiser, Predictor
from lienzo.diffusion.dit import DiT
from lienzo.diffusion.schedules import make_betas
from lienzo.diffusion.shuffle_unet import ShuffleUnet

NOTEBOOK_STEPS = 1000
SIGMA_RANGE = (0.01, 60.0)
"""Noise levels between which a `ShuffleUnet` is sampled, for pictures in [-1, 1]."""

ClassNetwork = ClassCondUnet | DiT | ShuffleUnet


def class_denoiser(model: nn.Module) -> Predictor:
    """The adapter that fits how the network was trained.

    The course's U-Net predicts the noise of the cosine schedule; a `ShuffleUnet` is preconditioned as in EDM; a `DiT`
    gives the velocity of a flow, or, with the published objective, the noise of the linear schedule.

    Raises:
        BadInput: the network is none of these.
    """
    if isinstance(model, ShuffleUnet):
        low, high = SIGMA_RANGE
        return EDMDenoiser(model, sigma_data=model.config["sigma_data"], sigma_min=low, sigma_max=high)
    if isinstance(model, ClassCondUnet):
        return DiscreteDenoiser(model, make_betas("cosine", NOTEBOOK_STEPS))
    if isinstance(model, DiT) and model.config["objective"] == "flow":
        return FlowDenoiser(model)
    if isinstance(model, DiT):
        return DiscreteDenoiser(model, make_betas("linear"), learned_range=model.config["learn_sigma"])
    raise BadInput(f"A network {type(model).__name__} does not draw numbered classes.")
