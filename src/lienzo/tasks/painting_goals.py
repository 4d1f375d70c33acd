"""What a painting is pulled towards, as guides: a story's chapters, spots, pictures, noise, further losses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.data.phrases import find_colour
from lienzo.data.recolour import HUES
from lienzo.guidance.cutouts import CUTOUTS, Cutter
from lienzo.guidance.draws import Generators
from lienzo.guidance.guide import Guide, Target, aim
from lienzo.guidance.losses import Loss, init_loss
from lienzo.guidance.losses_chosen import Surroundings, chosen_loss, named_uniquely
from lienzo.guidance.losses_tone import PigmentLoss
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.perceptor import Perceptor
from lienzo.guidance.prompts import Prompt, parse_prompts
from lienzo.guidance.spots import SpotCutter
from lienzo.guidance.story import parse_story
from lienzo.imaging.reading import load_picture, to_tensor
from lienzo.tasks.paint import Paint

GRAIN = 100.0  # scale of total variation beside prompts of the default scale: that of clip-diffusion-art
NEAR = 1000.0  # scale of the squared difference to a picture, as of the chosen losses
_NOISE = re.compile(r"(\d{1,18})(?::([-+]?\d+(?:\.\d+)?))?")


class Goals:
    """The guides of a painting.

    Args:
        options: of the task.
        perceptors: that guide, with equal say.
        spots: one mask (1, 1, H, W) in [0, 1] for each spot prompt.
        pictures: `init` and `target` as (1, 3, H, W) in [0, 1], where there are any.
        device: where to compute.
        lines: the canvas has no colours, so that the words for colours are left out of what it is painted towards.

    Attributes:
        uncoloured: the texts without them, where there were any.

    Raises:
        BadInput: a prompt, a spot or a loss does not fit.
    """

    def __init__(
        self,
        options: Paint,
        perceptors: Sequence[Perceptor],
        spots: Sequence[Tensor],
        pictures: dict[str, Tensor],
        device: torch.device,
        *,
        lines: bool = False,
    ):
        self.options, self.perceptors, self.device = options, perceptors, device
        self.veil = 0.0 if lines else options.veil  # thin lines are lost in noise
        self.guidance = GuidanceOptions.make(
            tv_scale=GRAIN * options.smooth,
            range_scale=0.0,
            cutn=options.cuts,
            cutn_batches=options.cut_batches,
            cutouts=options.cutouts,
            skip_augs=not options.augment,
            distance=options.distance,
        )
        self.chapters = parse_story(options.prompt) if options.prompt else [[]]
        images = [prompt for text in options.image_prompt for prompt in parse_prompts(text, image=True)]
        everywhere = self._spots(spots) + self._noise()
        told = [self._colourless(chapter) for chapter in self.chapters] if lines else self.chapters
        self.uncoloured = [
            new.text for was, now in zip(self.chapters, told) for old, new in zip(was, now) if new != old
        ]
        self.targets = [self._aim([*chapter, *images]) + everywhere for chapter in told]
        chosen = self._losses(pictures)
        in_spots = [row for text, mask in zip(options.spot, spots) for row in self._pigments(parse_prompts(text), mask)]
        self.extra = [named_uniquely([*chosen, *self._pigments(chapter), *in_spots]) for chapter in told]

    @property
    def text(self) -> str:
        """The wanted texts of the last chapter, for the judge; empty where there is none."""
        return ", ".join(prompt.text for prompt in self.chapters[-1] if prompt.weight > 0)

    def guides(self, generators: Generators) -> list[Guide]:
        """A guide for each chapter; all draw from the same generators."""
        return [Guide(self.guidance, targets, extra, generators) for targets, extra in zip(self.targets, self.extra)]

    def _cutter(self, perceptor: Perceptor) -> Cutter:
        return CUTOUTS.load(self.options.cutouts)(perceptor.size, self.guidance)

    def _colourless(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return [replace(prompt, text=colourless(prompt.text)) for prompt in prompts]

    def _aim(self, prompts: Sequence[Prompt]) -> list[Target]:
        if not prompts:
            return []
        return [self._target(each, self._cutter(each), prompts) for each in self.perceptors]

    def _target(self, perceptor: Perceptor, cutter: Cutter, prompts: Sequence[Prompt]) -> Target:
        target = aim(perceptor, cutter, [list(prompts)], self._read, 1 / len(self.perceptors))
        told = getattr(perceptor, "noisy_tower", None) is not None
        return replace(target, veil=self.veil if told else 0.0)

    def _spots(self, masks: Sequence[Tensor]) -> list[Target]:
        return [
            self._target(each, SpotCutter(self._cutter(each), mask), parse_prompts(text))
            for text, mask in zip(self.options.spot, masks, strict=True)
            for each in self.perceptors
        ]

    def _noise(self) -> list[Target]:
        found = []
        for text in self.options.noise_prompt:
            match = _NOISE.fullmatch(text.strip())
            if match is None:
                raise BadInput(f"The noise prompt '{printable(text, 60)}' is not SEED or SEED:WEIGHT, as in 7:0.5.")
            weight = torch.tensor([[float(match[2] or 1)]])
            for each in self.perceptors:
                length = each.encode_text(["noise"]).shape[-1]
                drawn = torch.randn(1, length, generator=torch.Generator().manual_seed(int(match[1])))
                stop, share = torch.full((1, 1), -torch.inf), 1 / len(self.perceptors)
                found.append(Target(each, self._cutter(each), drawn.to(self.device), weight, stop, share))
        return found

    def _losses(self, pictures: dict[str, Tensor]) -> list[tuple[str, Loss, float]]:
        init = pictures["init"] * 2 - 1 if "init" in pictures else None
        around = Surroundings(init, self._read, self.perceptors)
        rows: list[tuple[str, Loss, float]] = [
            (name, init_loss(pictures[name] * 2 - 1), NEAR * weight)
            for name, weight in (("init", self.options.init_weight), ("target", self.options.target_weight))
            if name in pictures and weight
        ]
        return [*rows, *(chosen_loss(text, around) for text in self.options.loss)]

    def _pigments(self, prompts: Sequence[Prompt], mask: Tensor | None = None) -> list[tuple[str, Loss, float]]:
        """Losses that keep the colours which prompts name bright, under a spot's mask if one is given."""
        if not self.options.pigment:
            return []
        named = dict.fromkeys(find_colour(prompt.text)[1] for prompt in prompts if prompt.weight > 0)
        losses = [PigmentLoss(colour=colour).make_loss(Surroundings()) for colour in named if colour in HUES]
        scale = PigmentLoss.strength * self.options.pigment
        return [("pigment", loss if mask is None else within(mask, loss), scale) for loss in losses]

    def _read(self, path: str) -> Tensor:
        return to_tensor(load_picture(path)).to(self.device)


def within(mask: Tensor, loss: Loss) -> Loss:
    """A loss of what is under a mask (1, 1, H, W) in [0, 1], all else being black."""
    return lambda x: loss((x + 1) * mask.to(x) - 1)


def colourless(text: str) -> str:
    """A sentence without its colour: "an apple" for "a red apple"; as it is, where it has none."""
    rest, colour = find_colour(text)
    if colour is None:
        return text
    article, _, thing = rest.partition(" ")
    if article in ("a", "an"):
        return f"{'an' if thing[:1] in tuple('aeiou') else 'a'} {thing}"
    return rest
