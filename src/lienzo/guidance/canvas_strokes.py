"""Canvases of strokes: coloured ones (CLIPDraw) and a black line sketch; both can be written as SVG."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.bezier import draw_strokes
from lienzo.guidance.draws import Generators, uniform
from lienzo.guidance.ops import clamp_with_grad

SWELL = 4.0
"""By what a line of a sketch may become wider or thinner than at first."""
MIDDLE = 0.6
"""How far the lines of a sketch lie from its centre at first, as a share of how far they would anywhere."""
FIRST = 0.2
"""Length of the lines of a sketch at first, as a share of the longer side, where they follow a picture."""
REACH = 0.25
"""Positions are kept in this share of the longer side, so that one learning rate suits them and the colours."""


class StrokeCanvas:
    """Cubic Bézier strokes with a width, a colour and an opacity each (CLIPDraw, Frans et al. 2021).

    Args:
        batch, height, width: of the pictures.
        strokes: how many.
        thick: width of the widest strokes at first, as a share of the longer side; the last ones are a fifth as wide.
        start: (1 or B, 3, H, W) in [0, 1]: the paper takes its median colour, and strokes its colour where they lie.
            White paper and colours drawn at random without it.
        generators: where the strokes are drawn.
        device: where the parameters lie.
    """

    lr = 0.03

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        *,
        strokes: int = 96,
        thick: float = 0.08,
        start: Tensor | None = None,
        generators: Generators = None,
        device: torch.device | str = "cpu",
    ):
        check(strokes, thick)
        self.shape = (height, width)
        draws = uniform(generators, batch, strokes, 13).to(device)
        curves = scattered(draws[..., :9], self.shape, 0.25)
        paper = torch.ones(batch, 3, 1, 1, device=device)
        inks = torch.cat([draws[..., 9:12], 0.6 + 0.3 * draws[..., 12:]], -1)
        if start is not None:
            start = start.to(device).expand(batch, 3, height, width)
            paper = start.flatten(2).median(-1).values[..., None, None]
            inks[..., :3] = colours_at(start, curves.mean(2))
        # From wide to narrow, so that detail lies on top.
        widths = thick * 5 ** -torch.linspace(0, 1, strokes, device=device)
        self.paper = paper
        self.curves = (curves / REACH).requires_grad_()  # (B, S, 4, 2)
        self.widths = widths.log().repeat(batch, 1).requires_grad_()  # (B, S)
        self.inks = inks.clamp(0, 1).requires_grad_()  # (B, S, 4)

    def render(self) -> Tensor:
        longer = max(self.shape)
        inks = clamp_with_grad(self.inks, 0.0, 1.0)
        paper = self.paper.expand(-1, -1, *self.shape)
        return draw_strokes(paper, self.curves * REACH * longer, self.widths.exp() * longer, inks).clamp(0, 1)

    def parameters(self) -> list[Tensor]:
        return [self.curves, self.widths, self.inks]

    def project(self) -> None:
        """Keep colours that can be shown, strokes that can be seen, and control points near the picture."""
        with torch.no_grad():
            self.inks[..., :3].clamp_(0, 1)
            self.inks[..., 3].clamp_(0.05, 1)
            self.widths.clamp_(math.log(0.004), math.log(0.5))
            keep_near(self.curves, self.shape)

    def svg(self, picture: int = 0) -> str:
        """One picture as the text of an SVG file, sharp at any size."""
        with torch.no_grad():
            longer = max(self.shape)
            return svg_text(
                self.shape,
                self.paper[picture, :, 0, 0],
                self.curves[picture] * REACH * longer,
                self.widths[picture].exp() * longer,
                self.inks[picture].clamp(0, 1),
            )


class SketchCanvas:
    """Black lines on white paper; where they run is painted, and how wide and how dark each is.

    Args:
        batch, height, width: of the pictures.
        strokes: how many.
        thick: width of the lines at first, as a share of the longer side; see `SWELL`.
        start: (1 or B, 3, H, W) in [0, 1]: lines begin where it is dark, and along its edges. Without it they lie about
            the centre.
        generators: where the lines are drawn.
        device: where the parameters lie.
    """

    lr = 0.05

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        *,
        strokes: int = 16,
        thick: float = 0.04,
        start: Tensor | None = None,
        generators: Generators = None,
        device: torch.device | str = "cpu",
    ):
        check(strokes, thick)
        self.shape, self.thick = (height, width), thick
        draws = uniform(generators, batch, strokes, 9).to(device)
        curves = scattered(draws, self.shape, 0.4)
        if start is not None:
            start = start.to(device).expand(batch, 3, height, width)
            places = dark_places(start, draws[..., 8])
            along = (
                torch.linspace(-0.5, 0.5, 4, device=device)[:, None]
                * FIRST
                * edge_directions(start, places)[:, :, None]
            )
            curves = places[:, :, None] + along
        else:
            centre = torch.tensor([width, height]).to(curves) / (2 * max(height, width))
            places = torch.lerp(centre.expand(batch, strokes, 2), curves.mean(2), MIDDLE)
            curves = curves + (places - curves.mean(2))[:, :, None]
        self.curves = (curves / REACH).requires_grad_()  # (B, S, 4, 2)
        self.widths = curves.new_full((batch, strokes), math.log(thick)).requires_grad_()  # (B, S)
        self.dark = curves.new_full((batch, strokes), 0.8).requires_grad_()  # (B, S)

    def render(self) -> Tensor:
        longer = max(self.shape)
        paper = self.curves.new_ones(len(self.curves), 3, *self.shape)
        return draw_strokes(paper, self.curves * REACH * longer, self.widths.exp() * longer, self._inks()).clamp(0, 1)

    def parameters(self) -> list[Tensor]:
        return [self.curves, self.widths, self.dark]

    def project(self) -> None:
        """Keep lines that are lines and can be seen, and control points near the picture."""
        with torch.no_grad():
            self.widths.clamp_(math.log(self.thick / SWELL), math.log(self.thick * SWELL))
            self.dark.clamp_(0.05, 1)
            keep_near(self.curves, self.shape)

    def svg(self, picture: int = 0) -> str:
        """One picture as the text of an SVG file, sharp at any size."""
        with torch.no_grad():
            longer = max(self.shape)
            curves, widths = self.curves[picture] * REACH * longer, self.widths[picture].exp() * longer
            return svg_text(self.shape, curves.new_ones(3), curves, widths, self._inks()[picture])

    def _inks(self) -> Tensor:
        """Black, as dark as each line is: (B, S, 4)."""
        dark = clamp_with_grad(self.dark, 0.0, 1.0)[..., None]
        return torch.cat([torch.zeros_like(dark).expand(-1, -1, 3), dark], -1)


def check(strokes: int, thick: float) -> None:
    """Refuse numbers of strokes and widths that cannot be drawn."""
    if not 1 <= strokes <= 4096:
        raise BadInput(f"A drawing has 1 to 4096 strokes, not {strokes}.")
    if not 0 < thick <= 0.5:
        raise BadInput(f"Strokes are wider than 0 and at most 0.5 of the longer side, not {thick:g}.")


def scattered(draws: Tensor, shape: tuple[int, int], length: float) -> Tensor:
    """Strokes that begin anywhere and wander: (B, S, 4, 2) in shares of the longer side.

    Args:
        draws: uniform in [0, 1), (B, S, 9): two for where, six for the three steps, and the last for the length.
        length: of the longest, as a share of the longer side.
    """
    side = torch.tensor([shape[1], shape[0]]).to(draws) / max(shape)
    first = draws[..., :2] * side
    steps = (draws[..., 2:8].unflatten(-1, (3, 2)) * 2 - 1) * length * (0.4 + 0.6 * draws[..., 8, None, None])
    return torch.cat([first[..., None, :], first[..., None, :] + steps.cumsum(-2) / 2], -2)


def colours_at(pictures: Tensor, places: Tensor) -> Tensor:
    """Colours (B, S, 3) of pictures (B, 3, H, W) at places (B, S, 2) in shares of the longer side."""
    side = torch.tensor([pictures.shape[3], pictures.shape[2]]).to(places) / max(pictures.shape[2:])
    grid = (places / side * 2 - 1)[:, :, None]
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)[..., 0].transpose(1, 2)


def dark_places(pictures: Tensor, draws: Tensor) -> Tensor:
    """Places (B, S, 2), in shares of the longer side, more often where pictures (B, 3, H, W) are dark.

    `draws` (B, S) are uniform in [0, 1).
    """
    height, width = pictures.shape[2:]
    dark = (1 - pictures.mean(1)).flatten(1).square() + 1e-6
    reached = dark.cumsum(1) / dark.sum(1, keepdim=True)
    pixel = torch.searchsorted(reached, draws.contiguous()).clamp(max=height * width - 1)
    return torch.stack([pixel % width + 0.5, pixel.div(width, rounding_mode="floor") + 0.5], -1) / max(height, width)


def edge_directions(pictures: Tensor, places: Tensor) -> Tensor:
    """Unit vectors (B, S, 2) along the edges of pictures (B, 3, H, W) at places (B, S, 2), see `colours_at`.

    Across an edge, light and dark change most: the first axis of the structure tensor, averaged over a
    sixteenth of the picture.
    """
    grey = F.pad(pictures.mean(1, keepdim=True), (1, 1, 1, 1), "replicate")
    across, down = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2], grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    tensor = torch.cat([across.square(), across * down, down.square()], 1)
    half = max(pictures.shape[2:]) // 32
    tensor = F.avg_pool2d(tensor, 2 * half + 1, 1, half, count_include_pad=False)
    xx, xy, yy = colours_at(tensor, places).unbind(-1)
    angle = torch.atan2(2 * xy, xx - yy) / 2 + math.pi / 2
    return torch.stack([angle.cos(), angle.sin()], -1)


def keep_near(curves: Tensor, shape: tuple[int, int]) -> None:
    """Clamp control points (B, S, 4, 2), in units of `REACH`, to the picture and a tenth around it."""
    for axis, side in enumerate((shape[1], shape[0])):
        curves[..., axis].clamp_(-0.1 / REACH, (side / max(shape) + 0.1) / REACH)


def svg_text(shape: tuple[int, int], paper: Tensor, curves: Tensor, widths: Tensor, inks: Tensor) -> str:
    """A drawing as SVG.

    Args:
        shape: height and width in pixels.
        paper: colour (3,) in [0, 1].
        curves: control points in pixels, (S, 4, 2).
        widths: in pixels, (S,).
        inks: red, green, blue and opacity in [0, 1], (S, 4).
    """
    height, width = shape
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" fill="{_hex(paper.tolist())}"/>',
        '<g fill="none" stroke-linecap="round" stroke-linejoin="round">',
    ]
    for curve, thick, (*colour, opacity) in zip(curves.flatten(1).tolist(), widths.tolist(), inks.tolist()):
        x0, y0, *rest = (f"{value:.2f}" for value in curve)
        lines.append(
            f'<path d="M{x0} {y0} C{" ".join(rest)}" stroke="{_hex(colour)}" stroke-width="{thick:.2f}" '
            f'stroke-opacity="{opacity:.3f}"/>'
        )
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _hex(colour: list[float]) -> str:
    return "#" + "".join(f"{round(value * 255):02x}" for value in colour)
