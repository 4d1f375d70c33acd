"""Painters as an engine: sentence vectors, a style, linear codes, and the refiner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.denoiser import FlowDenoiser
from lienzo.diffusion.drawing import FIRST_TIME, STEPS
from lienzo.diffusion.linear_code import LinearCode
from lienzo.diffusion.own_painter import OwnPainter
from lienzo.diffusion.refiner import Refiner
from lienzo.diffusion.sigmas import flow
from lienzo.guidance.steer import classifier_free
from lienzo.nn.noise import slerp
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Latents, Model, Wish
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

DEFAULT_STYLE = "flat"


class PainterEngine:
    """Paints with a `CodePainter`.

    Args:
        model: the network.
        code: the linear code that it was trained on.
        read: sentences to vectors (N, D), the ones it was trained on.
        refiner: finishes the drawings, told what they show, or None.
        device: where to compute.
        models: names of the models used besides the network.
        on_white: whether it draws single things on white, which can stand beside each other.
    """

    steps = STEPS
    sampler = "euler"
    previews = 0
    conditional = True
    walks = True

    def __init__(
        self,
        model: CodePainter,
        code: LinearCode,
        read: Callable[[Sequence[str]], Tensor],
        refiner: Refiner | None,
        device: torch.device,
        models: tuple[str, ...] = ("code", "sentence"),
        on_white: bool = False,
    ):
        self.model, self.read, self.refiner, self.device = model.to(device), read, refiner, device
        self.size, self.on_white = code.size, on_white
        self.models = models if refiner is None else (*models, "refiner")
        self.styles: tuple[str, ...] = tuple(model.config["styles"])
        self.latents = Latents((model.config["length"],), code.decode, code.encode, self._finish)

    def _finish(self, codes: Tensor, wish: Wish) -> Tensor:
        picture = self.latents.decode(codes).clamp(-1, 1)
        if self.refiner is None:
            return picture
        if wish.toward is not None and wish.style != wish.toward[0].style:
            other = replace(wish, style=wish.toward[0].style)
            return torch.lerp(self._refined(picture, wish), self._refined(picture, other), wish.toward[1])
        return self._refined(picture, wish)

    def _refined(self, picture: Tensor, wish: Wish) -> Tensor:
        assert self.refiner is not None
        known = self.refiner.config["styles"]  # another painter may have styles that the refiner never saw
        name = self.styles[index] if (index := self.style_index(wish.style)) < len(self.styles) else None
        style = torch.full((len(picture),), known.index(name) if name in known else len(known), device=self.device)
        text, _ = self._vectors(wish)
        return self.refiner(picture, text.expand(len(picture), -1), style).clamp(-1, 1)

    def sigmas(self, steps: int) -> Tensor:
        """Even steps in flow time t, as noise levels t / (1 - t)."""
        return flow(steps, t_max=FIRST_TIME).float()

    def style_index(self, name: str | None) -> int:
        """The network's index of a style; for None its only one, `DEFAULT_STYLE`, or none.

        Raises:
            BadInput: the network knows no such style.
        """
        if name is None:
            default = self.styles[0] if len(self.styles) == 1 else DEFAULT_STYLE
            return self.styles.index(default) if default in self.styles else self.model.no_style
        if name not in self.styles:
            raise BadInput(f"The painter has no style '{name}'; it has {', '.join(self.styles)}.")
        return self.styles.index(name)

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        if wish.toward is not None and wish.style != wish.toward[0].style:
            other, share = wish.toward
            here, there = (self._in_style(wish, name, count, guidance) for name in (wish.style, other.style))
            return lambda x, sigma: torch.lerp(here(x, sigma), there(x, sigma), share)
        return self._in_style(wish, wish.style, count, guidance)

    def _in_style(self, wish: Wish, name: str | None, count: int, guidance: float) -> Model:
        wanted, unwanted = self._vectors(wish)
        style = torch.full((count,), self.style_index(name), device=self.device)
        everywhere = torch.ones(count, dtype=torch.bool, device=self.device)
        cond = {"text": wanted.expand(count, -1), "style": style, "keep": everywhere}
        if unwanted is None:
            uncond = {"text": cond["text"], "style": style, "keep": ~everywhere}
        else:
            uncond = {"text": unwanted.expand(count, -1), "style": style, "keep": everywhere}
        return classifier_free(FlowDenoiser(self.model, prediction="x0"), cond, uncond, guidance, joined=True)

    def _vectors(self, wish: Wish) -> tuple[Tensor, Tensor | None]:
        """Unit vectors (1, D) of what is wanted and of what is not (None where nothing is unwanted)."""
        if wish.toward is not None:
            other, share = wish.toward
            (here, away), (there, away_there) = self._vectors(replace(wish, toward=None)), self._vectors(other)
            if away is not None and away_there is not None:
                away = slerp(away, away_there, share)
            return slerp(here, there, share), away
        wanted = [(text, weight) for text, weight in wish.subjects if weight > 0]
        unwanted = [(text, -weight) for text, weight in wish.subjects if weight < 0]
        if wish.negative.strip():
            unwanted.append((wish.negative, 1.0))
        if not wanted:
            raise BadInput("Every prompt has a negative weight; say also what the picture should show.")
        with torch.no_grad():
            return self._mean(wanted), self._mean(unwanted) if unwanted else None

    def _mean(self, texts: list[tuple[str, float]]) -> Tensor:
        vectors = self.read([text for text, _ in texts])
        weights = torch.tensor([[weight] for _, weight in texts], device=vectors.device)
        return F.normalize((vectors * weights).sum(0, keepdim=True), dim=-1)


def open_painter(model: CodePainter, options: Create, device: torch.device) -> PainterEngine:
    """A painter whose code is the bundled one."""
    code = load_model(resolve("code"), device)
    if not isinstance(code, LinearCode):
        raise BadInput("The model 'code' is no linear code; the painter needs the one it was trained on.")
    read = load_model(resolve("sentence"), device)
    return PainterEngine(model, code, read, _refiner(options, device), device, on_white=True)


def open_own_painter(model: OwnPainter, options: Create, device: torch.device) -> PainterEngine:
    """A painter that brings its code."""
    read = load_model(resolve("sentence"), device)
    return PainterEngine(model.painter, model.code, read, _refiner(options, device), device, ("sentence",))


def _refiner(options: Create, device: torch.device) -> Refiner | None:
    if not options.refine:
        return None
    refiner = load_model(resolve("refiner"), device)
    if not isinstance(refiner, Refiner):
        raise BadInput("The model 'refiner' is no refiner; leave it out with --no-refine.")
    return refiner
