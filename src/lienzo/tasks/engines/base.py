"""What `create` asks of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from lienzo.clip.long_prompts import parse_weights

Model = Callable[..., Tensor]


@dataclass(frozen=True)
class Wish:
    """What the pictures should show.

    Attributes:
        subjects: (text, weight) of each prompt, the style taken out; negative weights push away.
        style: style the network draws in, or None for the engine's own.
        filter: painterly filter applied to the finished picture, or None.
        negative: what the pictures should not show.
        brackets: the texts carry weights in brackets, see `lienzo.clip.long_prompts`.
        toward: another wish, and in [0, 1] how far this one is on the way to it; for engines that have `walks`.
        seeds: of the pictures of a batch, for engines that leave more than noise to them.
        upright: drawings stand straight and fill their sheet, for engines that leave that to the seed.
    """

    subjects: tuple[tuple[str, float], ...]
    style: str | None = None
    filter: str | None = None
    negative: str = ""
    brackets: bool = False
    toward: tuple[Wish, float] | None = None
    seeds: tuple[int, ...] = ()
    upright: bool = False

    @property
    def spoken(self) -> tuple[tuple[str, float], ...]:
        """`subjects` as plain sentences, for CLIP; on the way to another wish also those of that, by their shares."""
        own = tuple((_plain(text) if self.brackets else text, weight) for text, weight in self.subjects)
        if self.toward is None:
            return own
        other, share = self.toward
        parts = [(text, weight * (1 - share)) for text, weight in own]
        parts += [(text, weight * share) for text, weight in other.spoken]
        return tuple((text, weight) for text, weight in parts if weight)

    @property
    def text(self) -> str:
        """The wanted subjects in one phrase, for CLIP and for captions."""
        return ", ".join(text for text, weight in self.spoken if weight > 0)

    @property
    def in_style(self) -> str:
        """`text` with the style that it is drawn in."""
        return self.text if self.style is None else f"{self.text}, {self.style}"


def _plain(text: str) -> str:
    return " ".join(piece.text.strip() for piece in parse_weights(text) if piece.text and piece.text.strip())


@dataclass
class Latents:
    """The space in which an engine denoises.

    Attributes:
        shape: of one latent, without the batch.
        decode: latents (B, ...) to pictures (B, 3, S, S) in [-1, 1], differentiable.
        encode: the way back, or None where there is none.
        finish: latents and what they should show to finished pictures (B, 3, S', S') in [-1, 1]; more careful than
            `decode`, and maybe larger.
    """

    shape: tuple[int, ...]
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor] | None = None
    finish: Callable[[Tensor, Wish], Tensor] = field(default=lambda x, wish: x)


class Engine(Protocol):
    """A generator: its network, latents, defaults (`previews` are steps between them), noise levels, denoiser.

    One that draws in styles by name has the attribute `styles: tuple[str, ...]` too; prompts may then name them.
    One that reads prompts in a notation of its own has `read_wish(options) -> Wish`; one whose pictures need not be
    square has `sheet: Sheet`; one with a scale of guidance of its own has `guidance: float`; one that looks at what it
    inpaints has `inpaints = True` and `show(picture, mask)`. With `walks = True` it knows wishes on the way to others.
    One that paints from a memory of pictures has `remembered(wish) -> list[str]`, which the recipe tells. One that is
    fast and uneven has `candidates: int`, among which CLIP chooses unless it guides or another number is asked for.
    """

    size: int
    steps: int
    sampler: str
    previews: int
    latents: Latents
    conditional: bool
    models: tuple[str, ...]

    @property
    def model(self) -> nn.Module:
        """The network that generates."""
        ...

    def sigmas(self, steps: int) -> Tensor:
        """Noise levels of a run of `steps` steps, largest first, 0 last."""
        ...

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        """`denoised = model(x, sigma)` for a batch of `count`, the wish and classifier-free guidance inside."""
        ...
