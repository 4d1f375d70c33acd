"""What `create` asks of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

Model = Callable[..., Tensor]


@dataclass(frozen=True)
class Wish:
    """What the pictures should show.

    Attributes:
        subjects: (text, weight) of each prompt, the style taken out; negative weights push away.
        style: style the network draws in, or None for the engine's own.
        filter: painterly filter applied to the finished picture, or None.
    """

    subjects: tuple[tuple[str, float], ...]
    style: str | None = None
    filter: str | None = None
    negative: str = ""

    @property
    def text(self) -> str:
        """The wanted subjects in one phrase, for CLIP and for captions."""
        return ", ".join(text for text, weight in self.subjects if weight > 0)


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
    """A generator: its latents, defaults (`previews` are steps between them), noise levels, conditioned denoiser.

    One that draws in styles by name has the attribute `styles: tuple[str, ...]` too; prompts may then name them.
    """

    size: int
    steps: int
    sampler: str
    previews: int
    latents: Latents
    conditional: bool
    models: tuple[str, ...]

    def sigmas(self, steps: int) -> Tensor:
        """Noise levels of a run of `steps` steps, largest first, 0 last."""
        ...

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        """`denoised = model(x, sigma)` for a batch of `count`, the wish and classifier-free guidance inside."""
        ...
