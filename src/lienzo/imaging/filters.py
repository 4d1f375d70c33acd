"""Painterly filters for styles that no data set holds: watercolor, oil, pencil, pixel art, outlines and more.

A filter is `filter(image, seed) -> image` on uint8 (H, W, 3) of any size; the same seed gives the same picture.
They repaint a finished picture and are recorded in its recipe as such: the network did not learn them.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter

from lienzo.core.tables import Names

FILTERS = Names(
    "filter",
    {
        "watercolor": "lienzo.imaging.filters:watercolor",
        "oil painting": "lienzo.imaging.filters:oil_painting",
        "pencil": "lienzo.imaging.filters:pencil",
        "pixel art": "lienzo.imaging.filters:pixel_art",
        "mosaic": "lienzo.imaging.filters:mosaic",
        "stained glass": "lienzo.imaging.filters:stained_glass",
        "pointillism": "lienzo.imaging.filters:pointillism",
        "outlined": "lienzo.imaging.filters:outlined",
        "line icon": "lienzo.imaging.filters:line_icon",
        "black silhouette": "lienzo.imaging.filters:black_silhouette",
    },
)


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def _bytes(image: np.ndarray) -> np.ndarray:
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def _blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of a float image (H, W) or (H, W, C)."""
    x = torch.from_numpy(np.ascontiguousarray(image if image.ndim == 3 else image[..., None])).permute(2, 0, 1)[:, None]
    half = min(max(1, round(3 * radius)), min(x.shape[-2:]) - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-half, half + 1) / radius) ** 2)
    kernel = kernel / kernel.sum()
    x = F.conv2d(F.pad(x, (half, half, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    x = F.conv2d(F.pad(x, (0, 0, half, half), mode="reflect"), kernel.view(1, 1, -1, 1))
    blurred = x[:, 0].permute(1, 2, 0).numpy()
    return blurred if image.ndim == 3 else blurred[..., 0]


def _clouds(height: int, width: int, cells: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (H, W) of zero mean and unit spread, about `cells` bumps across the shorter side."""
    step = max(min(height, width) / cells, 1.0)
    small = rng.standard_normal((int(height / step) + 3, int(width / step) + 3)).astype(np.float32)
    big = F.interpolate(torch.from_numpy(small)[None, None], (height, width), mode="bicubic")[0, 0].numpy()
    return (big - big.mean()) / (big.std() + 1e-6)


def _warp(image: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Move each pixel by (across, down) pixels."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    grid = np.stack([(x + across + 0.5) / width * 2 - 1, (y + down + 0.5) / height * 2 - 1], -1)
    source = torch.from_numpy(image).permute(2, 0, 1)[None]
    moved = F.grid_sample(source, torch.from_numpy(grid)[None], padding_mode="border", align_corners=False)
    return moved[0].permute(1, 2, 0).numpy()


def _kuwahara(image: np.ndarray, radius: int) -> np.ndarray:
    """Each pixel takes the mean of the calmest of its four corner windows: flat strokes, kept edges."""
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    size = radius + 1
    padded = F.pad(x, (radius, radius, radius, radius), mode="replicate")
    mean = F.avg_pool2d(padded, size, 1)
    variance = (F.avg_pool2d(padded**2, size, 1) - mean**2).sum(1, keepdim=True)
    height, width = image.shape[:2]
    corners = [(0, 0), (0, radius), (radius, 0), (radius, radius)]
    means = torch.stack([mean[..., dy : dy + height, dx : dx + width] for dy, dx in corners])
    spread = torch.stack([variance[..., dy : dy + height, dx : dx + width] for dy, dx in corners])
    best = spread.argmin(0, keepdim=True).expand(-1, -1, 3, -1, -1)
    return means.gather(0, best)[0, 0].permute(1, 2, 0).numpy()


def _edges(gray: np.ndarray) -> np.ndarray:
    down, across = np.gradient(gray)
    return np.hypot(down, across)


def watercolor(image: np.ndarray, seed: int) -> np.ndarray:
    """Pigment that runs and gathers at its rims, on rough paper."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    unit = min(height, width) / 256
    x = _unit(image)
    shake = [
        1.8 * unit * _clouds(height, width, n, rng) + 0.9 * unit * _clouds(height, width, 4 * n, rng) for n in (14, 14)
    ]
    x = _kuwahara(_warp(_blur(x, 0.8 * unit), shake[0], shake[1]), max(2, round(3 * unit)))
    bleed = _blur(x, 4 * unit)
    x = 0.72 * x + 0.28 * bleed
    ink = 1 - x  # amount of pigment
    rim = _edges(_blur(x.mean(-1), 1.2 * unit)) * unit
    washes = 1 + 0.22 * _clouds(height, width, 5, rng) + 0.13 * _clouds(height, width, 22, rng)
    grain = 1 + 0.10 * _clouds(height, width, 110, rng)
    density = (0.82 * washes * grain + 3.2 * np.clip(rim, 0, 0.12)).clip(0.25, 1.7)
    paper = 0.975 - 0.018 * np.abs(_clouds(height, width, 120, rng)) + 0.006 * _clouds(height, width, 60, rng)
    tint = np.array([1.0, 0.99, 0.965], np.float32)
    painted = np.power(np.clip(1 - ink, 0.02, 1), density[..., None])
    return _bytes(painted * paper[..., None] * tint)


def oil_painting(image: np.ndarray, seed: int) -> np.ndarray:
    """Thick strokes along the edges of things, lit from the upper left, on canvas."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    unit = min(height, width) / 256
    x = _unit(image)
    x = _warp(x, 1.4 * unit * _clouds(height, width, 30, rng), 1.4 * unit * _clouds(height, width, 30, rng))
    tone = 0.02 * _clouds(height, width, 9, rng)[..., None] + 0.01 * rng.standard_normal(3).astype(np.float32)
    x = x * (np.array([0.95, 0.925, 0.86], np.float32) + tone)  # a warm ground shows where there is little paint
    x = _kuwahara(_kuwahara(x, max(2, round(4 * unit))), max(2, round(3 * unit)))
    down, across = np.gradient(_blur(x.mean(-1), 3 * unit))
    angle = np.arctan2(down, across) + np.pi / 2 + 0.5 * _clouds(height, width, 4, rng)
    bristle = rng.standard_normal((height, width)).astype(np.float32)
    stroke = np.zeros_like(bristle)
    reach = max(3, round(7 * unit))
    for step in range(-reach, reach + 1):  # noise smeared along the strokes
        stroke += _warp(bristle[..., None], np.cos(angle) * step, np.sin(angle) * step)[..., 0]
    stroke = _blur(stroke / stroke.std(), 0.6 * unit)
    relief = -(np.gradient(stroke, axis=0) + np.gradient(stroke, axis=1))
    return _bytes((x + 0.035 * relief[..., None] + 0.015 * stroke[..., None]) * 1.02)


def pencil(image: np.ndarray, seed: int) -> np.ndarray:
    """Graphite outlines and two layers of hatching on grainy paper."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    unit = min(height, width) / 256
    gray = _unit(image) @ np.array([0.3, 0.59, 0.11], np.float32)
    shaky = _warp(
        gray[..., None], 0.8 * unit * _clouds(height, width, 40, rng), 0.8 * unit * _clouds(height, width, 40, rng)
    )
    gray = shaky[..., 0]
    soft = _blur(gray, 3 * unit)
    outline = np.clip(1 - np.clip(gray / np.maximum(soft, 0.05), 0, 1), 0, 1)
    line = np.clip(4.0 * np.clip(_edges(_blur(gray, 0.8 * unit)) * unit - 0.012, 0, 1), 0, 1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / unit
    wobble = 1.5 * _clouds(height, width, 12, rng)
    first = 0.5 + 0.5 * np.sin((x + y + wobble) * 0.95)
    second = 0.5 + 0.5 * np.sin((x - y + wobble) * 1.05)
    dark = np.clip(1 - _blur(gray, 1.2 * unit), 0, 1)
    hatch = np.clip(dark * 1.3 - 0.25 * first - 0.05, 0, 1) * 0.62 + np.clip(dark - 0.45 - 0.3 * second, 0, 1) * 0.7
    graphite = np.clip(hatch * (0.75 + 0.4 * first) + 0.55 * outline + 0.95 * line, 0, 1)
    grain = np.clip(0.86 + 0.16 * rng.standard_normal((height, width)).astype(np.float32), 0.4, 1.15)
    page = 0.965 - graphite * grain * 0.9 + 0.008 * rng.standard_normal((height, width)).astype(np.float32)
    return _bytes(page[..., None] * np.array([1.0, 0.995, 0.97], np.float32))


def pixel_art(image: np.ndarray, seed: int) -> np.ndarray:
    """About 48 large pixels across in at most 24 colours."""
    height, width = image.shape[:2]
    scale = 48 / min(height, width)
    small = Image.fromarray(image).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX
    )
    small = small.filter(ImageFilter.UnsharpMask(1, 120, 2)).quantize(
        24, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    return np.asarray(small.convert("RGB").resize((width, height), Image.Resampling.NEAREST)).copy()


def _cells(
    height: int, width: int, across: int, jitter: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A jittered grid of stones: index (H, W) of the nearest and how much farther the second nearest is, in pixels."""
    step = min(height, width) / across
    rows, columns = int(np.ceil(height / step)) + 2, int(np.ceil(width / step)) + 2
    centre = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).astype(np.float32) - 0.5
    centre = (centre + jitter * rng.uniform(-0.5, 0.5, centre.shape)) * step
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    row, column = (y / step).astype(int), (x / step).astype(int)
    near = np.full((2, height, width), 1e9, np.float32)
    index = np.zeros((height, width), int)
    for dr in range(-1, 3):
        for dc in range(-1, 3):
            r, c = np.clip(row + dr, 0, rows - 1), np.clip(column + dc, 0, columns - 1)
            distance = np.hypot(centre[r, c, 0] - y, centre[r, c, 1] - x)
            closer = distance < near[0]
            same = (r * columns + c == index) & ~closer
            near[1] = np.where(closer, near[0], np.where(same, near[1], np.minimum(near[1], distance)))
            index = np.where(closer, r * columns + c, index)
            near[0] = np.where(closer, distance, near[0])
    return index, near[1] - near[0]


def _cell_means(image: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Mean colour (cells, 3) of each cell."""
    flat = index.ravel()
    count = np.maximum(np.bincount(flat), 1)
    return np.stack([np.bincount(flat, image[..., c].ravel()) / count for c in range(3)], -1).astype(np.float32)


def mosaic(image: np.ndarray, seed: int) -> np.ndarray:
    """Small stones of one colour each, set in pale mortar."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    index, gap = _cells(height, width, 34, 0.5, rng)
    colours = _cell_means(_unit(image), index)
    colours *= 1 + 0.06 * rng.standard_normal((len(colours), 1)).astype(np.float32)
    joint = 1.0 * min(height, width) / 256
    stone = colours[index] * (0.9 + 0.12 * np.clip(gap / (3 * joint), 0, 1))[..., None]
    mix = np.clip((gap - 0.6 * joint) / joint, 0, 1)[..., None]
    mortar = np.array([0.70, 0.67, 0.63], np.float32)
    return _bytes(stone * mix + mortar * (1 - mix))


def stained_glass(image: np.ndarray, seed: int) -> np.ndarray:
    """Large panes of clear colour between lead lines."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    unit = min(height, width) / 256
    index, gap = _cells(height, width, 15, 0.95, rng)
    colours = _cell_means(_unit(image), index)
    gray = colours.mean(-1, keepdims=True)
    colours = np.clip(gray + 1.45 * (colours - gray), 0, 1) * 0.96
    glass = (
        colours[index] * (1 + 0.07 * _clouds(height, width, 30, rng) + 0.05 * _clouds(height, width, 7, rng))[..., None]
    )
    lead = np.clip((gap - 0.9 * unit) / (1.2 * unit), 0, 1)[..., None]
    return _bytes(glass * lead + 0.08 * (1 - lead))


def pointillism(image: np.ndarray, seed: int) -> np.ndarray:
    """Round dabs of nearly the right colour, small ones over large ones, on cream."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    unit = min(height, width) / 256
    zoom = 2  # drawn at twice the size and reduced, so that dabs have soft rims
    canvas = Image.new("RGB", (width * zoom, height * zoom), (247, 243, 232))
    draw = ImageDraw.Draw(canvas)
    soft = _blur(_unit(image), 1.0 * unit)
    for radius, share in ((3.4, 1.1), (2.3, 1.3), (1.6, 0.9)):
        r = max(radius * unit, 0.5)  # finer dabs than a pixel only cost time
        count = int(share * height * width / (np.pi * r * r))
        where = rng.uniform(0, 1, (count, 2)) * (height, width)
        colour = soft[where[:, 0].astype(int), where[:, 1].astype(int)]
        colour = colour + rng.normal(0, 0.07, colour.shape) * (1.15 - colour.min(-1, keepdims=True))
        size = r * rng.uniform(0.75, 1.15, count)
        for (y, x), c, s in zip(where * zoom, _bytes(colour), size * zoom, strict=True):
            draw.ellipse((x - s, y - s, x + s, y + s), fill=tuple(int(v) for v in c))
    return np.asarray(canvas.resize((width, height), Image.Resampling.LANCZOS)).copy()


def _thick(ink: np.ndarray, radius: float) -> np.ndarray:
    """The most ink (H, W) within so many pixels of each pixel."""
    x = torch.from_numpy(ink)[None, None]
    if radius > 6:  # half the size is fine enough for lines so thick, and takes a sixteenth of the memory
        half = _thick(F.max_pool2d(x, 2, ceil_mode=True)[0, 0].numpy(), radius / 2)
        return F.interpolate(torch.from_numpy(half)[None, None], ink.shape, mode="bilinear")[0, 0].numpy()
    reach = max(1, round(radius + 0.5))
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = torch.from_numpy(np.clip(radius + 0.5 - np.hypot(down, across), 0, 1).astype(np.float32)).view(-1, 1)
    around = F.unfold(F.pad(x, (reach,) * 4), 2 * reach + 1)[0]
    return (around * disc).amax(0).view(ink.shape).numpy()


def _body(x: np.ndarray, unit: float) -> np.ndarray:
    """What of a float image is not white paper, (H, W) in [0, 1]."""
    return np.clip((_blur(1 - x.min(-1), 0.8 * unit) - 0.05) / 0.06, 0, 1)


def _lines(x: np.ndarray, width: float, faint: float) -> tuple[np.ndarray, np.ndarray]:
    """Lines where colours meet, and around all that is not paper.

    Args:
        x: float image (H, W, 3) in [0, 1].
        width: of the lines, where the picture is 256 pixels wide.
        faint: step between colours from which on there is a line.

    Returns:
        Ink (H, W) in [0, 1], and the image in flat colours (H, W, 3).
    """
    unit = min(x.shape[:2]) / 256
    flat = _kuwahara(_blur(x, 0.6 * unit), max(1, round(1.6 * unit)))
    layers = [*np.moveaxis(flat, -1, 0), 0.3 * _body(flat, unit)]
    slope = np.max([_edges(_blur(layer, 0.8 * unit)) for layer in layers], 0) * unit
    reach = max(1, round(unit))
    steepest = F.max_pool2d(torch.from_numpy(slope)[None, None], 2 * reach + 1, 1, reach)[0, 0].numpy()
    crest = np.clip((slope / np.maximum(steepest, 1e-6) - 0.6) / 0.3, 0, 1)
    ink = _thick(np.clip((slope - faint) / faint, 0, 1) * crest, width * unit / 2)
    return np.clip((_blur(ink, 1.2 * unit) - 0.3) / 0.4, 0, 1), flat


def outlined(image: np.ndarray, seed: int) -> np.ndarray:
    """Flat colours between black outlines."""
    ink, flat = _lines(_unit(image), 5, 0.03)
    return _bytes(flat * (1 - ink[..., None]))


def line_icon(image: np.ndarray, seed: int) -> np.ndarray:
    """Thick black lines on white."""
    ink, _ = _lines(_unit(image), 8, 0.025)
    return _bytes(np.repeat(1 - ink[..., None], 3, -1))


def black_silhouette(image: np.ndarray, seed: int) -> np.ndarray:
    """All black on white, with thin white lines between its parts."""
    x, unit = _unit(image), min(image.shape[:2]) / 256
    ink, _ = _lines(x, 3, 0.04)
    body = _body(x, unit)
    inside = np.clip((_blur(body, 6 * unit) - 0.93) / 0.05, 0, 1)
    return _bytes(np.repeat(1 - (body * (1 - ink * inside))[..., None], 3, -1))
