"""ADM checkpoints as an engine: pixels in, pixels out, no words; CLIP does the steering."""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.diffusion.adm_checkpoints import diffusion_from
from lienzo.diffusion.denoiser import DiscreteDenoiser
from lienzo.diffusion.schedules import make_betas
from lienzo.diffusion.sigmas import discrete
from lienzo.guidance.steer import thresholded
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Latents, Model, Wish


class AdmEngine:
    """Paints with an unconditional ADM U-Net.

    Args:
        model: the network.
        device: where to compute.
    """

    steps = 50
    sampler = "ddim"
    previews = 10
    conditional = False
    models: tuple[str, ...] = ()

    def __init__(self, model: Adm, device: torch.device):
        if isinstance(model, AdmSuperRes):
            raise BadInput("This checkpoint enlarges pictures and cannot start from a sentence.")
        if model.config.get("num_classes"):
            raise BadInput("This checkpoint draws numbered classes, not sentences; choose an unconditional one.")
        self.model = model.to(device)
        self.device = device
        self.size = model.config["image_size"]
        settings = diffusion_from(model.state_dict())
        self.network = DiscreteDenoiser(
            model,
            make_betas(settings.noise_schedule, settings.steps),
            prediction="x0" if settings.predict_xstart else "eps",
            learned_range=settings.learn_sigma,
            rescale_timesteps=settings.rescale_timesteps,
        )
        self.latents = Latents((3, self.size, self.size), lambda x: x, None, lambda x: x.clamp(-1, 1))

    def sigmas(self, steps: int) -> Tensor:
        """The trained noise levels at any number of steps, 0 last."""
        return discrete(self.network.betas, steps).float()

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        return thresholded(self.network)


def open_adm(model: Adm, options: Create, device: torch.device) -> AdmEngine:
    """An ADM checkpoint as `create` asks for it."""
    return AdmEngine(model, device)
