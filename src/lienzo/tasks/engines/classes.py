"""Small models of picture classes as an engine: the prompt is the name or the number of a class."""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.diffusion.class_denoisers import ClassNetwork, class_denoiser
from lienzo.diffusion.denoiser import bind
from lienzo.diffusion.sigmas import schedule
from lienzo.guidance.steer import classifier_free, thresholded
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Latents, Model, Wish

SIZES = ("image_size", "sample_size", "input_size")
CHANNELS = ("channels", "in_channels")


class ClassEngine:
    """Paints with a `ShuffleUnet`, a `DiT` on pixels or a `ClassCondUnet`; grey ones come out grey.

    Args:
        model: the network.
        device: where to compute.

    Raises:
        BadInput: the network draws latents, not pictures.
    """

    steps = 20
    sampler = "dpmpp_2m"
    previews = 0
    conditional = True
    models: tuple[str, ...] = ()

    def __init__(self, model: ClassNetwork, device: torch.device):
        config = model.config
        self.size = next(config[name] for name in SIZES if config.get(name))
        channels = next(config[name] for name in CHANNELS if name in config)
        if channels not in (1, 3):
            raise BadInput(f"This checkpoint draws latents of {channels} channels, which need their own decoder.")
        self.model, self.device, self.null_class = model, device, model.null_class
        self.classes: list[str] = config["classes"] or [str(i) for i in range(model.num_classes)]
        self.network = class_denoiser(model.to(device))

        def coloured(x: Tensor) -> Tensor:
            return x.expand(-1, 3, -1, -1)

        def grey(x: Tensor) -> Tensor:
            return x.mean(dim=1, keepdim=True) if channels == 1 else x

        self.latents = Latents((channels, self.size, self.size), coloured, grey, lambda x, _: coloured(x.clamp(-1, 1)))

    def sigmas(self, steps: int) -> Tensor:
        """The noise levels that the network was trained for, 0 last."""
        return schedule("native", self.network, steps).float()

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
        wanted = [text for text, weight in wish.subjects if weight > 0]
        unwanted = [text for text, weight in wish.subjects if weight < 0]
        unwanted += [wish.negative] if wish.negative.strip() else []
        if len(wanted) != 1 or len(unwanted) > 1:
            raise BadInput("This model draws one class a picture; name one, and at most one that is not wanted.")
        y = torch.full((count,), self.label(wanted[0]), device=self.device)
        nothing = self.label(unwanted[0]) if unwanted else self.null_class
        if nothing is None:  # no class stands for "no class": nothing to guide away from
            return thresholded(bind(self.network, y=y))
        without = torch.full_like(y, nothing)
        return thresholded(classifier_free(self.network, {"y": y}, {"y": without}, guidance, joined=True))


def open_classes(model: ClassNetwork, options: Create, device: torch.device) -> ClassEngine:
    """A model of classes as `create` asks for it."""
    return ClassEngine(model, device)
