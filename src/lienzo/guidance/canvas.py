"""Canvases: things that render pictures from parameters, which `paint` optimises."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names
from lienzo.guidance.draws import Generators, normal
from lienzo.guidance.ops import clamp_with_grad, vector_quantize
from lienzo.guidance.settings import parse_choice

CANVASES = Names(
    "canvas",
    {
        "pixels": "lienzo.guidance.canvas:PixelCanvas",
        "fourier": "lienzo.guidance.canvas:FourierCanvas",
        "wavelet": "lienzo.guidance.canvas_wavelet:WaveletCanvas",
        "siren": "lienzo.guidance.canvas_siren:SirenCanvas",
        "rect": "lienzo.guidance.canvas_cells:CellCanvas",
        "rectshift": "lienzo.guidance.canvas_cells:BrickCanvas",
        "hex": "lienzo.guidance.canvas_cells:HexagonCanvas",
        "tri": "lienzo.guidance.canvas_cells:TriangleCanvas",
        "diamond": "lienzo.guidance.canvas_cells:DiamondCanvas",
        "knit": "lienzo.guidance.canvas_cells:KnitCanvas",
        "strokes": "lienzo.guidance.canvas_strokes:StrokeCanvas",
        "sketch": "lienzo.guidance.canvas_strokes:SketchCanvas",
    },
)
"""Name -> class, made from (batch, height, width) and the settings of its own; see `make_canvas`."""

# Square root of the covariance of the colours of ImageNet pictures (Olah et al. 2017, "Feature visualization"),
# columns from the strongest axis (light to dark) to the weakest.
COLOUR_AXES = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOUR_AXES = COLOUR_AXES / COLOUR_AXES.norm(dim=0).max()

CODE_STEP = 0.6  # learning rate of latents that are rounded to codes, as a share of the spread of the codes


class Canvas(Protocol):
    """Renders pictures. It may also have `project()`, called after each step to put parameters back in bounds.

    It may also have `lr`, see `learning_rate`, and `grow(progress)`, `growing` and `grown`, see `GrowingCanvas`. The
    first axis of every parameter is the picture.
    """

    def render(self) -> Tensor:
        """(B, 3, H, W) in [0, 1], differentiable by the parameters."""
        ...

    def parameters(self) -> list[Tensor]:
        """The leaf tensors to optimise."""
        ...


def make_canvas(
    text: str,
    batch: int,
    height: int,
    width: int,
    *,
    start: Tensor | None = None,
    generators: Generators = None,
    device: torch.device | str = "cpu",
) -> Canvas:
    """The canvas of a line such as ``hex`` or ``strokes; strokes=40; thick=0.05``.

    Args:
        text: a name of `CANVASES` and settings that its class takes.
        batch, height, width: of the pictures.
        start: (1 or B, 3, H, W) in [0, 1].
        generators: where what is random is drawn.
        device: where the parameters lie.

    Raises:
        BadInput: there is no such canvas or setting, or a value does not suit it.
    """
    choice = parse_choice(text)
    make = CANVASES.load(choice.name)
    there = settings_of(choice.name)
    given = {}
    for key, value in choice.settings.items():
        if key not in there:
            known = f"it has {', '.join(there)}" if there else "it has none"
            raise BadInput(f"The canvas '{choice.name}' has no setting '{key}'; {known}.")
        kind = type(there[key])
        try:
            given[key] = kind(value)
        except ValueError as error:
            word = "a whole number" if kind is int else "a number"
            raise BadInput(
                f"The setting '{key}' of the canvas '{choice.name}' is {word}, not {value[:40]!r}."
            ) from error
    if math.isfinite(sum(given.values())):
        return make(batch, height, width, start=start, generators=generators, device=device, **given)
    raise BadInput(f"The settings of the canvas '{choice.name}' are finite numbers; {text[:80]!r} has another.")


def learning_rate(canvas: Canvas) -> float:
    """The learning rate of Adam that suits a canvas, in units of its parameters."""
    return float(getattr(canvas, "lr", 0.05))


def project(canvas: Canvas) -> None:
    """Put a canvas's parameters back where they belong, where it has a `project` for that."""
    own = getattr(canvas, "project", None)
    if own is not None:
        own()


def settings_of(name: str) -> dict[str, int | float]:
    """The settings of a canvas of `CANVASES` with their defaults."""
    own = inspect.signature(CANVASES.load(name)).parameters.values()
    return {each.name: each.default for each in own if isinstance(each.default, int | float)}


class PixelCanvas:
    """The pixels themselves.

    Args:
        batch, height, width: of the pictures.
        start: (1 or B, 3, H, W) in [0, 1]; grey with a little noise without it.
        generators: where the noise is drawn.
        device: where the parameters lie.
    """

    lr = 0.05

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        *,
        start: Tensor | None = None,
        generators: Generators = None,
        device: torch.device | str = "cpu",
    ):
        if start is None:
            start = 0.5 + 0.05 * normal(generators, batch, 3, height, width)
        self.pixels = start.to(device).expand(batch, 3, height, width).clone().clamp(0, 1).requires_grad_()

    def render(self) -> Tensor:
        return clamp_with_grad(self.pixels, 0.0, 1.0)

    def parameters(self) -> list[Tensor]:
        return [self.pixels]

    def project(self) -> None:
        """Put the pixels back into [0, 1]."""
        with torch.no_grad():
            self.pixels.clamp_(0, 1)


class FourierCanvas:
    """A spectrum with amplitudes scaled by 1/frequency and colours along the axes of natural pictures.

    Steps of one size then change a picture as pictures vary, large shapes most, where pixels would give grain
    (Olah et al. 2017, "Feature visualization").

    Args:
        batch, height, width: of the pictures.
        decay: power of 1/frequency.
        start: (1 or B, 3, H, W) in [0, 1], rendered exactly (within [0.005, 0.995]).
        generators: where the first spectrum is drawn, without `start`.
        device: where the parameters lie.
    """

    lr = 0.15

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        *,
        decay: float = 1.0,
        start: Tensor | None = None,
        generators: Generators = None,
        device: torch.device | str = "cpu",
    ):
        self.shape = (height, width)
        low = 1 / max(height, width)
        rows = torch.fft.fftfreq(height)[:, None]
        amplitude = torch.hypot(rows, torch.fft.fftfreq(width)).clamp(min=low) ** -decay
        half = torch.hypot(rows, torch.fft.rfftfreq(width)).clamp(min=low) ** -decay
        # Over the size of the whole spectrum, so that unit parameters give pixels of unit variance.
        self.amplitude = (half / amplitude.square().mean().sqrt())[..., None]  # (H, W//2 + 1, 1)
        if start is None:
            spectrum = 0.5 * normal(generators, batch, 3, height, width // 2 + 1, 2)
        else:
            spectrum = self._spectrum(start.expand(batch, 3, height, width))
        self.spectrum = spectrum.to(device).requires_grad_()

    def render(self) -> Tensor:
        scaled = torch.view_as_complex(self.spectrum * self.amplitude.to(self.spectrum))
        axes = torch.fft.irfft2(scaled, s=self.shape, norm="ortho")
        return torch.einsum("ca,bahw->bchw", COLOUR_AXES.to(axes), axes).sigmoid()

    def parameters(self) -> list[Tensor]:
        return [self.spectrum]

    def _spectrum(self, picture: Tensor) -> Tensor:
        colours = torch.linalg.inv(COLOUR_AXES).to(picture)
        axes = torch.einsum("ac,bchw->bahw", colours, picture.clamp(0.005, 0.995).logit())
        return torch.view_as_real(torch.fft.rfft2(axes, norm="ortho")) / self.amplitude.to(picture)


class CodeCanvas:
    """Latents seen through a decoder; with a codebook they are rounded to its codes (VQGAN+CLIP).

    Args:
        decode: latents (B, D, h, w) to pictures (B, 3, H, W) in [-1, 1].
        latents: where to start.
        codebook: (N, D) codes; `project` keeps latents within their smallest and largest values.
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], latents: Tensor, codebook: Tensor | None = None):
        self.decode = decode
        self.latents = latents.detach().clone().requires_grad_()
        self.codebook = codebook
        self.lr = 0.1 if codebook is None else CODE_STEP * float(codebook.std())

    def render(self) -> Tensor:
        z = self.latents
        if self.codebook is not None:
            z = vector_quantize(z.movedim(1, -1), self.codebook).movedim(-1, 1)
        return clamp_with_grad((self.decode(z) + 1) / 2, 0.0, 1.0)

    def parameters(self) -> list[Tensor]:
        return [self.latents]

    def project(self) -> None:
        """Keep the latents where the codebook has codes."""
        if self.codebook is None:
            return
        low, high = (bound.view(-1, 1, 1) for bound in (self.codebook.amin(0), self.codebook.amax(0)))
        with torch.no_grad():
            self.latents.copy_(torch.minimum(torch.maximum(self.latents, low), high))
