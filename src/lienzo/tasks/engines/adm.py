"""ADM checkpoints as an engine: pixels in, pixels out. CLIP does the steering, or the number or name of a class."""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.diffusion.adm_checkpoints import diffusion_of
from lienzo.diffusion.denoiser import DiscreteDenoiser, bind
from lienzo.diffusion.schedules import make_betas
from lienzo.diffusion.sigmas import discrete
from lienzo.guidance.steer import classifier_free, thresholded
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Latents, Model, Wish


class AdmEngine:
    """Paints with an ADM U-Net; the prompt of a class-conditional one is the name or the number of a class.

    Args:
        model: the network.
        device: where to compute.
    """

    steps = 50
    sampler = "ddim"
    previews = 10
    models: tuple[str, ...] = ()

    def __init__(self, model: Adm, device: torch.device):
        if isinstance(model, AdmSuperRes):
            raise BadInput("This checkpoint enlarges pictures and cannot start from a sentence.")
        self.model = model.to(device)
        self.device = device
        self.size = model.config["image_size"]
        self.conditional = model.num_classes is not None
        self.classes: list[str] = model.config["classes"] or [str(i) for i in range(model.num_classes or 0)]
        settings = diffusion_of(model)
        self.network = DiscreteDenoiser(
            model,
            make_betas(settings.noise_schedule, settings.steps),
            prediction=settings.prediction,  # type: ignore[arg-type]
            learned_range=settings.learn_sigma,
            rescale_timesteps=settings.rescale_timesteps,
        )
        self.latents = Latents((3, self.size, self.size), lambda x: x, None, lambda x, _: x.clamp(-1, 1))

    def sigmas(self, steps: int) -> Tensor:
        """The trained noise levels at any number of steps, 0 last."""
        return discrete(self.network.betas, steps).float()

    def label(self, text: str) -> int:
        """The class that a prompt names, by its name or number.

        Raises:
            BadInput: there is none; the sentence says which there are.
        """
        wanted = text.strip().casefold()
        named = [index for index, name in enumerate(self.classes) if name.casefold() == wanted]
        if named:
            return named[0]
        if wanted.isdecimal() and int(wanted) < len(self.classes):
            return int(wanted)
        some = ", ".join(self.classes[:10]) + (" …" if len(self.classes) > 10 else "")
        raise BadInput(f"This model draws by class and knows no '{printable(text, 60)}'; it knows {printable(some)}.")

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        if not self.conditional:
            return thresholded(self.network)
        wanted = [text for text, weight in wish.subjects if weight > 0]
        unwanted = [text for text, weight in wish.subjects if weight < 0]
        unwanted += [wish.negative] if wish.negative.strip() else []
        if len(wanted) != 1 or len(unwanted) > 1:
            raise BadInput("This model draws one class a picture; name one, and at most one that is not wanted.")
        y = torch.full((count,), self.label(wanted[0]), device=self.device)
        nothing = self.label(unwanted[0]) if unwanted else len(self.classes)
        if nothing == self.model.num_classes:  # no class stands for "no class": nothing to guide away from
            return thresholded(bind(self.network, y=y))
        without = torch.full_like(y, nothing)
        return thresholded(classifier_free(self.network, {"y": y}, {"y": without}, guidance, joined=True))


def open_adm(model: Adm, options: Create, device: torch.device) -> AdmEngine:
    """An ADM checkpoint as `create` asks for it."""
    return AdmEngine(model, device)
