"""A latent diffusion model trained by `lienzo train latent`, as an engine: the file brings its autoencoder along."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.diffusion.denoiser import bind
from lienzo.diffusion.latent_painter import LatentPainter, latent_denoiser
from lienzo.diffusion.latent_recipe import hint_of_mask, hint_of_small
from lienzo.diffusion.sigmas import schedule
from lienzo.guidance.steer import classifier_free
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Latents, Model, Wish
from lienzo.tasks.latent_text import reader_of


class LatentPainterEngine:
    """Paints with a `LatentPainter`.

    Args:
        model: the network.
        read: texts to (N, L, D), where it reads texts.
        device: where to compute.

    Attributes:
        inpaints: whether it looks at a picture; see `show`.
    """

    steps = 20
    sampler = "euler"
    previews = 0
    models: tuple[str, ...] = ()

    def __init__(self, model: LatentPainter, read: Callable[[Sequence[str]], Tensor] | None, device: torch.device):
        self.model, self.read, self.device = model.to(device), read, device
        self.config = model.denoiser.config
        self.size, self.condition = model.size, self.config["condition"]
        self.conditional = self.condition in ("class", "text")
        self.network = latent_denoiser(model, self.config["objective"])
        stage, side = model.stage, model.size // model.stage.factor
        self.latents = Latents(
            (stage.channels, side, side), stage.decode, self.encode, lambda x, _: stage.decode(x).clamp(-1, 1)
        )
        self.inpaints = self.condition == "picture"
        self.picture: Tensor | None = None
        if self.inpaints:
            self.show(None, None)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] to latents."""
        return self.model.stage.encode(pictures)

    def sigmas(self, steps: int) -> Tensor:
        """The noise levels that the network was trained for, 0 last."""
        return schedule("native", self.network, steps).float()

    def show(self, picture: Tensor | None, mask: Tensor | None) -> None:
        """Tell a model of pictures what it may see: (1, 3, S, S) in [-1, 1], and a mask (1, 1, S, S), 1 where to paint;
        without a picture it sees nothing."""
        if picture is None:
            side = self.latents.shape[1]
            self.picture = torch.zeros(1, self.model.denoiser.beside, side, side, device=self.device)
        elif self.config["hint"] == "small":
            self.picture = hint_of_small(self.model.stage, picture)
        else:
            hole = torch.ones_like(picture[:, :1]) if mask is None else (mask > 0.5).to(picture.dtype)
            self.picture = hint_of_mask(self.model.stage, picture, hole)

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        if self.condition == "class":
            return self._of_class(wish, count, guidance)
        if self.condition == "text":
            return self._of_text(wish, count, guidance)
        if self.condition == "picture":
            assert self.picture is not None
            keep = torch.ones(count, dtype=torch.bool, device=self.device)
            return bind(self.network, picture=self.picture.expand(count, -1, -1, -1), keep=keep)
        return bind(self.network)

    def _of_text(self, wish: Wish, count: int, guidance: float) -> Model:
        assert self.read is not None
        wanted = [(text, weight) for text, weight in wish.subjects if weight > 0]
        unwanted = [(text, -weight) for text, weight in wish.subjects if weight < 0]
        unwanted += [(wish.negative, 1.0)] if wish.negative.strip() else []
        if not wanted:
            raise BadInput("Every prompt has a negative weight; say also what the picture should show.")
        keep = torch.ones(count, dtype=torch.bool, device=self.device)
        cond = {"text": self._mean(wanted, count), "keep": keep}
        uncond = {"text": self._mean(unwanted, count), "keep": keep} if unwanted else {**cond, "keep": ~keep}
        return classifier_free(self.network, cond, uncond, guidance, joined=True)

    def _mean(self, texts: list[tuple[str, float]], count: int) -> Tensor:
        """What several texts say together, (count, L, D); one vector a text keeps its length."""
        assert self.read is not None
        told = self.read([text for text, _ in texts])  # (N, L, D)
        weights = torch.tensor([weight for _, weight in texts], device=told.device)[:, None, None]
        mean = (told * weights).sum(0, keepdim=True) / weights.sum()
        if mean.shape[1] == 1 and len(texts) > 1:
            mean = F.normalize(mean, dim=-1) * told.norm(dim=-1).mean()
        return mean.expand(count, -1, -1)

    def _of_class(self, wish: Wish, count: int, guidance: float) -> Model:
        wanted = [text for text, weight in wish.subjects if weight > 0]
        unwanted = [text for text, weight in wish.subjects if weight < 0]
        unwanted += [wish.negative] if wish.negative.strip() else []
        if len(wanted) != 1 or len(unwanted) > 1:
            raise BadInput("This model draws one class a picture; name one, and at most one that is not wanted.")
        y = torch.full((count,), self.label(wanted[0]), device=self.device)
        none = self.label(unwanted[0]) if unwanted else len(self.config["classes"])
        return classifier_free(self.network, {"y": y}, {"y": torch.full_like(y, none)}, guidance, joined=True)

    def label(self, text: str) -> int:
        """The class that a prompt names, by its name or number.

        Raises:
            BadInput: there is none; the sentence says which there are.
        """
        classes, wanted = self.config["classes"], text.strip().casefold()
        named = [index for index, name in enumerate(classes) if name.casefold() == wanted]
        if named:
            return named[0]
        if wanted.isdecimal() and int(wanted) < len(classes):
            return int(wanted)
        some = ", ".join(classes[:10]) + (" …" if len(classes) > 10 else "")
        raise BadInput(f"This model draws by class and knows no '{printable(text, 60)}'; it knows {printable(some)}.")


def open_latent_painter(model: LatentPainter, options: Create, device: torch.device) -> LatentPainterEngine:
    """A latent painter, with the text encoder that it was trained with."""
    read = model.config["text"]
    return LatentPainterEngine(model, None if read is None else reader_of(read, device), device)
