"""Canvases: things that render pictures from parameters, which `paint` optimises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from lienzo.core.tables import Names
from lienzo.guidance.draws import Generators, normal
from lienzo.guidance.ops import clamp_with_grad, vector_quantize

CANVASES = Names(
    "canvas",
    {
        "pixels": "lienzo.guidance.canvas:PixelCanvas",
        "fourier": "lienzo.guidance.canvas:FourierCanvas",
    },
)

# Square root of the covariance of the colours of ImageNet pictures (Olah et al. 2017, "Feature visualization"),
# columns from the strongest axis (light to dark) to the weakest.
_COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOURS = _COLOURS / _COLOURS.norm(dim=0).max()


class Canvas(Protocol):
    """Renders pictures. It may also have `project()`, called after each step to put parameters back in bounds.

    The first axis of every parameter is the picture.
    """

    def render(self) -> Tensor:
        """(B, 3, H, W) in [0, 1], differentiable by the parameters."""
        ...

    def parameters(self) -> list[Tensor]:
        """The leaf tensors to optimise."""
        ...


class PixelCanvas:
    """The pixels themselves.

    Args:
        batch, height, width: of the pictures.
        start: (1 or B, 3, H, W) in [0, 1]; grey with a little noise without it.
        generators: where the noise is drawn.
        device: where the parameters lie.
    """

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
        return torch.einsum("ca,bahw->bchw", _COLOURS.to(axes), axes).sigmoid()

    def parameters(self) -> list[Tensor]:
        return [self.spectrum]

    def _spectrum(self, picture: Tensor) -> Tensor:
        colours = torch.linalg.inv(_COLOURS).to(picture)
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
