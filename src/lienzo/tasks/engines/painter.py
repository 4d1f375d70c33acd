"""Painters as an engine: sentence vectors, a style, linear codes, and the refiner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lienzo.core.errors import BadInput
from lienzo.core.seeds import derived_seed
from lienzo.data.lexicon import to_english
from lienzo.data.phrases import bare, find_colour
from lienzo.data.synonyms import plainer, synonym
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.denoiser import FlowDenoiser
from lienzo.diffusion.drawing import FIRST_TIME, STEPS
from lienzo.diffusion.linear_code import LinearCode
from lienzo.diffusion.own_painter import OwnPainter
from lienzo.diffusion.picture_memory import PictureMemory, Recalled
from lienzo.diffusion.poses import moved, random_poses
from lienzo.diffusion.refiner import Refiner
from lienzo.diffusion.sigmas import flow
from lienzo.guidance.steer import classifier_free
from lienzo.nn.noise import slerp
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Latents, Model, Wish
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

DEFAULT_STYLE = "flat"
ANY_STYLE = 0.02  # likeness that counts for nothing when a style is left to the seed
UNEVEN = {"clip art": 0.08}  # likeness by which a style must be ahead to be taken unasked: its drawings are uneven
WHOLE_NAME = 0.93  # likeness to a remembered name from which on all of its words belong to the name
KNOWN = 0.75  # likeness from which on a thing counts as remembered
SHAPED = 0.4 / 0.6  # noise level, at flow time 0.4, from which on down details are drawn in the style asked for
COLOUR_PULL = 1.5  # how far past the told colour the way from no colour is gone; 1 is to it
COLOURED = 0.5  # share of the guidance's push that is left to the sentence where a colour pulls too
LARGEST = 0.94  # of a drawing on its sheet
_BLENDED = ("codes", "likeness")


@dataclass(frozen=True)
class Sought:
    """What is looked for in a memory.

    Attributes:
        name: by which it is looked for.
        likeness: of the name that is nearest to it, at most 1.
        colour: told beside it.
    """

    name: str
    likeness: float
    colour: str | None = None


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
    candidates = 4
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
        return self.finished(codes, wish, self.manners([wish], len(codes)))

    def finished(self, codes: Tensor, wish: Wish, manners: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] of codes, refined in the styles that they were drawn in, (B,).

        A painter of single things with a memory draws what it knows always in the same place; so each seed gives it a
        pose.
        """
        picture = self._clean(self.latents.decode(codes).clamp(-1, 1), wish, manners)
        if self.model.memory is None or not self.on_white or wish.upright:
            return picture
        poses = self._dice(wish, len(codes), "pose", lambda dice: random_poses(1, dice, largest=LARGEST)[0])
        return moved(picture, poses).clamp(-1, 1)

    def _clean(self, picture: Tensor, wish: Wish, manners: Tensor) -> Tensor:
        if self.refiner is None:
            return picture
        there = self._manners_there(wish, manners)
        if there is None or wish.toward is None:
            return self._refined(picture, wish, manners)
        refined = (self._refined(picture, wish, manners), self._refined(picture, wish, there))
        return torch.lerp(*refined, wish.toward[1])

    def _refined(self, picture: Tensor, wish: Wish, manners: Tensor) -> Tensor:
        assert self.refiner is not None
        known = self.refiner.config["styles"]  # another painter may have styles that the refiner never saw
        names = [self.styles[i] if i < len(self.styles) else None for i in manners.tolist()]
        style = torch.tensor([known.index(name) if name in known else len(known) for name in names])
        text = self._vector(wish)
        return self.refiner(picture, text.expand(len(picture), -1), style.to(self.device)).clamp(-1, 1)

    def sigmas(self, steps: int) -> Tensor:
        """Even steps in flow time t, as noise levels t / (1 - t)."""
        return flow(steps, t_max=FIRST_TIME).float()

    def manners(self, wishes: Sequence[Wish], count: int) -> Tensor:
        """The style index of each of `count` pictures that show all the wishes, (B,).

        A wish without a style leaves it to the picture's seed, among those in which the painter remembers what is
        wished for; a painter without a memory draws it in its only style, in `DEFAULT_STYLE`, or in none.

        Raises:
            BadInput: the network knows no such style.
        """
        name, memory = wishes[0].style, self.model.memory
        if name is not None and name not in self.styles:
            raise BadInput(f"The painter has no style '{name}'; it has {', '.join(self.styles)}.")
        if name is None and memory is not None:
            suits = sum(memory.suits(self._told(wish)[0], len(self.styles)) for wish in wishes)
            uneven = torch.tensor([UNEVEN.get(style, 0.0) for style in self.styles], device=self.device)
            luck = self._dice(wishes[0], count, "style", lambda dice: torch.rand(len(self.styles), generator=dice))
            return (suits - len(wishes) * uneven + ANY_STYLE * luck).argmax(1)
        default = self.styles[0] if len(self.styles) == 1 else DEFAULT_STYLE
        name = default if name is None else name
        index = self.styles.index(name) if name in self.styles else self.model.no_style
        return torch.full((count,), index, device=self.device)

    def _dice(self, wish: Wish, count: int, use: str, throw: Callable[[Generator], Tensor]) -> Tensor:
        """What each picture's seed throws, stacked: the same alone and in a batch."""
        seeds = wish.seeds or tuple(range(count))
        return torch.stack([throw(Generator().manual_seed(derived_seed(seed, use))) for seed in seeds]).to(self.device)

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        manners = self.manners([wish], count)
        if wish.toward is None:
            return self.in_manners(wish, manners, guidance)
        here, there = self._told(replace(wish, toward=None))[1], self._told(_other(wish))[1]
        styles = self._manners_there(wish, manners)
        if styles is None and here == there:
            return self.in_manners(wish, manners, guidance)
        first = self.in_manners(wish, manners, guidance, here)
        last = self.in_manners(wish, manners if styles is None else styles, guidance, there)
        share = wish.toward[1]
        return lambda x, sigma: torch.lerp(first(x, sigma), last(x, sigma), share)

    def _manners_there(self, wish: Wish, manners: Tensor) -> Tensor | None:
        """The styles of the wish on the way to which this one is, or None where they are those of this one."""
        if wish.toward is None:
            return None
        there = self.manners([_other(wish)], len(manners))
        return None if torch.equal(there, manners) else there

    def in_manners(self, wish: Wish, manners: Tensor, guidance: float, colour: int | None = None) -> Model:
        """The denoiser of pictures that are drawn in certain styles (B,), and in another colour than the wish's."""
        everywhere = torch.ones(len(manners), dtype=torch.bool, device=self.device)
        away = unwanted(wish)
        cond = {**self._cond(wish, manners), "keep": everywhere}
        if colour is not None and "colour" in cond:
            cond["colour"] = torch.full_like(manners, colour)
        uncond = {**cond, "keep": ~everywhere} if away is None else {**self._cond(away, manners), "keep": everywhere}
        if self._coloured(cond) and guidance > 1:
            guidance = 1 + COLOURED * (guidance - 1)
        network, memory = self._vivid(FlowDenoiser(self.model, prediction="x0"), cond), self.model.memory
        detailed = classifier_free(network, cond, uncond, guidance, joined=memory is None)
        if memory is None:
            return detailed
        # A thing is drawn best in a style in which it is remembered; a style learned since then has no such pictures.
        old = torch.isin(manners, memory.style.long())
        known = torch.where(old, cond["recalled"].style[:, 0], manners)
        shaped = classifier_free(network, cond | {"style": known}, uncond | {"style": known}, guidance)
        return lambda x, sigma: (shaped if float(sigma.max()) > SHAPED else detailed)(x, sigma)

    def _vivid(self, network: Model, cond: Mapping[str, Any]) -> Model:
        """The network with the pull of a colour made stronger, where one is told."""
        if not self._coloured(cond):
            return network
        none = len(self.model.colours)

        def vivid(x: Tensor, sigma: Tensor, **told: Any) -> Tensor:
            pale = network(x, sigma, **{**told, "colour": torch.full_like(told["colour"], none)})
            return pale + COLOUR_PULL * (network(x, sigma, **told) - pale)

        return vivid

    def _coloured(self, cond: Mapping[str, Any]) -> bool:
        """Whether a colour is told."""
        none = len(self.model.colours)
        return none > 0 and int(cond["colour"][0]) != none

    def _cond(self, wish: Wish, manners: Tensor) -> dict[str, Any]:
        """What the network is told of a wish."""
        wanted, colour = self._told(wish)
        cond: dict[str, Any] = {"text": wanted.expand(len(manners), -1), "style": manners}
        if self.model.colours:
            cond["colour"] = torch.full_like(manners, colour)
        if self.model.memory is not None:
            cond["recalled"] = self._recalled(wish, manners, self.model.memory)
        return cond

    def remembered(self, wish: Wish) -> list[str]:
        """The pictures that the first picture of a wish is painted from, by name and style, the likest first."""
        return self.remembered_in(wish, self.manners([wish], 1))

    def remembered_in(self, wish: Wish, manners: Tensor) -> list[str]:
        """The same for a certain style (1,); nothing for a painter without a memory."""
        memory = self.model.memory
        if memory is None:
            return []
        recalled = self._recalled(wish, manners, memory)
        names = memory.name[recalled.rows[0]].tolist()
        styles = recalled.style[0].tolist()
        return [f"{memory.names[name]}, {self.styles[style]}" for name, style in zip(names, styles, strict=True)]

    def strange(self, wish: Wish) -> list[str]:
        """What is wished for and not remembered, so that the picture is made up from what is nearest in meaning."""
        memory = self.model.memory
        if memory is None:
            return []
        sought = [self._sought(text, memory) for text, _ in wanted(wish)]
        return [each.name for each in sought if each.likeness < KNOWN]

    def _recalled(self, wish: Wish, manners: Tensor, memory: PictureMemory) -> Recalled:
        """What comes to mind; on the way to another wish, what comes between."""
        if wish.toward is not None:
            share = wish.toward[1]
            here = self._recalled(replace(wish, toward=None), manners, memory)
            there = self._recalled(_other(wish), manners, memory)
            near = here if share < 0.5 else there
            codes, likeness = (torch.lerp(getattr(here, name), getattr(there, name), share) for name in _BLENDED)
            return Recalled(near.rows, codes, near.style, likeness)
        count = len(manners)
        text = self._told(wish)[0].expand(count, -1)
        luck = self._dice(wish, count, "memory", lambda dice: torch.rand(len(memory.codes), generator=dice))
        return memory.recall(text, manners, luck=luck)

    def _told(self, wish: Wish) -> tuple[Tensor, int]:
        """The unit vector (1, D) of what is wanted, without the colour, and the index of the colour."""
        if wish.toward is not None:
            other, share = wish.toward
            (here, colour), (there, last) = self._told(replace(wish, toward=None)), self._told(other)
            return slerp(here, there, share), colour if share < 0.5 else last
        split = [(*self._colourless(text), weight) for text, weight in wanted(wish)]
        named = [self.model.colours.index(colour) for _, colour, _ in split if colour in self.model.colours]
        vector = self._mean([(text, weight) for text, _, weight in split])
        return vector, named[0] if named else len(self.model.colours)

    def _colourless(self, text: str) -> tuple[str, str | None]:
        """What a painter with a memory looks for, and its colour."""
        if self.model.memory is None:
            return text, None
        sought = self._sought(text, self.model.memory)
        return sought.name, sought.colour

    def _sought(self, text: str, memory: PictureMemory) -> Sought:
        told = [self._split(said, memory) for said in (to_english(text), text)]
        return max(told, key=lambda found: found.likeness)  # the encoder knows some names best as they are said

    def _split(self, text: str, memory: PictureMemory) -> Sought:
        """A name without article, colour, and words such as "little"; one that is remembered, "red heart", is whole."""
        name = bare(text)
        if name not in memory.names:
            name = plainer(name)
        rest, colour = find_colour(name)
        whole = self._known_as(name, memory)
        if colour is None or whole.likeness > WHOLE_NAME:
            return whole
        return replace(self._known_as(bare(rest), memory), colour=colour)

    def _known_as(self, name: str, memory: PictureMemory) -> Sought:
        """A name, or the other one by which the same is remembered."""
        known = synonym(name) or name
        if known in memory.names:
            return Sought(known, 1.0)
        return Sought(name, float(memory.likeness(self.read([name])).max()))

    def _vector(self, wish: Wish) -> Tensor:
        """Unit vector (1, D) of all that is wanted, in English as far as it can be."""
        if wish.toward is not None:
            other, share = wish.toward
            return slerp(self._vector(replace(wish, toward=None)), self._vector(other), share)
        return self._mean([(to_english(text), weight) for text, weight in wanted(wish)])

    @torch.no_grad()
    def _mean(self, texts: list[tuple[str, float]]) -> Tensor:
        vectors = self.read([text for text, _ in texts])
        weights = torch.tensor([[weight] for _, weight in texts], device=vectors.device)
        return F.normalize((vectors * weights).sum(0, keepdim=True), dim=-1)


def _other(wish: Wish) -> Wish:
    """The wish at the end of the way."""
    assert wish.toward is not None
    return replace(wish.toward[0], seeds=wish.toward[0].seeds or wish.seeds)


def wanted(wish: Wish) -> list[tuple[str, float]]:
    """The subjects of positive weight.

    Raises:
        BadInput: there are none.
    """
    found = [(text, weight) for text, weight in wish.subjects if weight > 0]
    if not found:
        raise BadInput("Every prompt has a negative weight; say also what the picture should show.")
    return found


def unwanted(wish: Wish) -> Wish | None:
    """The wish for what a wish does not want, or None where nothing is unwanted."""
    subjects = [(text, -weight) for text, weight in wish.subjects if weight < 0]
    if wish.negative.strip():
        subjects.append((wish.negative, 1.0))
    if not subjects:
        return None
    toward = None
    if wish.toward is not None and (other := unwanted(wish.toward[0])) is not None:
        toward = (other, wish.toward[1])
    return replace(wish, subjects=tuple(subjects), negative="", toward=toward)


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
