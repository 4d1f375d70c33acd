"""Drawing cubic Bézier strokes so that the picture has a gradient by the curves, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

SAMPLES = 17  # points a curve at which the nearest one is first looked for
NEWTON = 3  # steps of Newton's method from there
VALUES = 2_000_000  # numbers in one intermediate tensor, which bounds the memory
FAR = 8  # softnesses from the edge of a stroke beyond which it is not looked for
_NO_ALPHA = 1e-3  # even a closed stroke lets this share through, so that what lies beneath keeps a gradient


def draw_strokes(paper: Tensor, curves: Tensor, widths: Tensor, inks: Tensor, *, soft: float = 0.5) -> Tensor:
    """Strokes with round ends over a ground, later ones over earlier ones.

    A pixel is covered by sigmoid((width/2 - distance) / soft), with the distance to the nearest point of the curve.
    That point is searched without a gradient: as it is the nearest, moving it along the curve changes nothing to first
    order (the envelope theorem), so the gradient of the distance by the curve is exact all the same. Only pixels in
    the rectangle about a stroke's control points are looked at, and groups of strokes are computed again on the way
    back, so that memory does not grow with their number.

    Args:
        paper: (B, 3, H, W).
        curves: control points (x, y) in pixels from the top left corner, (B, S, 4, 2).
        widths: in pixels, (B, S).
        inks: red, green, blue and opacity, (B, S, 4).
        soft: softness of the edge in pixels.

    Returns:
        (B, 3, H, W)
    """
    height, width = paper.shape[2:]
    ys, xs = (torch.arange(n, device=paper.device, dtype=paper.dtype) + 0.5 for n in (height, width))
    points = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)], -1).view(-1, 2)
    picture = paper.flatten(2)
    size = max(VALUES // (len(paper) * len(points)), 1)
    for group in zip(curves.split(size, 1), widths.split(size, 1), inks.split(size, 1)):
        if size < curves.shape[1]:
            picture = checkpoint(_over, picture, points, *group, soft, use_reentrant=False)
        else:
            picture = _over(picture, points, *group, soft)
    return picture.view(paper.shape)


def _over(picture: Tensor, points: Tensor, curves: Tensor, widths: Tensor, inks: Tensor, soft: float) -> Tensor:
    lines, radii = curves.flatten(0, 1), widths.flatten() / 2
    stroke, pixel = _pairs(lines.detach(), radii.detach() + FAR * soft, points)  # (K,) each
    cover = ((radii[stroke] - curve_distance(lines[stroke], points[pixel])) / soft).sigmoid()
    alpha = (1 - _NO_ALPHA) * cover * inks[..., 3].flatten()[stroke]
    places = stroke * len(points) + pixel
    alpha = alpha.new_zeros(len(lines) * len(points)).index_put((places,), alpha).view(*widths.shape, -1)  # (B, S, P)
    through = torch.log1p(-alpha)
    left = through.sum(1, keepdim=True)
    above = (left - through.cumsum(1)).exp()  # the share that the strokes above let through
    return picture * left.exp() + torch.einsum("bsc,bsp->bcp", inks[..., :3], alpha * above)


def _pairs(lines: Tensor, reach: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels of (P, 2) that lie within `reach` (N,) of the rectangles about the control points of (N, 4, 2)."""
    low, high = lines.amin(1) - reach[:, None], lines.amax(1) + reach[:, None]  # (N, 2)
    x, y = points.unbind(1)
    inside = (x >= low[:, :1]) & (x <= high[:, :1]) & (y >= low[:, 1:]) & (y <= high[:, 1:])
    stroke, pixel = inside.nonzero().unbind(1)
    return stroke, pixel


def curve_distance(curves: Tensor, points: Tensor) -> Tensor:
    """Distance of each point of (K, 2) to the curve of (K, 4, 2) beside it: (K,), with a gradient by the curves."""
    x, y = at(curves, nearest(curves.detach(), points))
    return ((x - points[:, 0]).square() + (y - points[:, 1]).square() + 1e-8).sqrt()


@torch.no_grad()
def nearest(curves: Tensor, points: Tensor) -> Tensor:
    """Where on each curve of (K, 4, 2) the point nearest to that of (K, 2) beside it lies, in [0, 1]: (K,)."""
    best = points.new_full((len(points),), torch.inf)
    guess = torch.zeros_like(best)
    for t in torch.linspace(0, 1, SAMPLES).tolist():
        x, y = at(curves, best.new_full((), t))
        far = (x - points[:, 0]).square() + (y - points[:, 1]).square()
        guess = torch.where(far < best, t, guess)
        best = torch.minimum(far, best)
    low, high = ((guess + side / (SAMPLES - 1)).clamp(0, 1) for side in (-1, 1))
    for _ in range(NEWTON):
        (x, y), (dx, dy), (ddx, ddy) = (derivative(curves, guess) for derivative in (at, slope, bend))
        x, y = points[:, 0] - x, points[:, 1] - y
        speed = dx.square() + dy.square()
        curving = speed - x * ddx - y * ddy  # half the second derivative of the squared distance
        step = (x * dx + y * dy) / torch.where(curving > 0.1 * speed, curving, speed).clamp(min=1e-8)
        guess = torch.minimum(torch.maximum(guess + step, low), high)
    return guess


def at(curves: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x and y of each curve of (K, 4, 2) at t (K,), or at one t: two of (K,)."""
    u = 1 - t
    return _mixed(curves, (u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t))


def slope(curves: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of `at` by t."""
    u = 1 - t
    return _mixed(3 * curves.diff(dim=1), (u * u, 2 * u * t, t * t))


def bend(curves: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Second derivatives of `at` by t."""
    return _mixed(6 * curves.diff(n=2, dim=1), (1 - t, t))


def _mixed(points: Tensor, shares: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    parts = [points[:, i] * share[..., None] for i, share in enumerate(shares)]
    x, y = sum(parts[1:], parts[0]).unbind(-1)
    return x, y
