"""What a run starts from: a picture, the part of it that is painted anew, and the sizes on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.imaging.masks import Convention, fitted, read_mask
from lienzo.imaging.reading import load_picture, to_tensor
from lienzo.imaging.resize import resize_array
from lienzo.tasks.create import Create
from lienzo.tasks.latent_options import parse_extend

LARGEST = 4096  # pixels a side
CONVENTIONS: dict[str, Convention] = {"white": "white", "black": "black", "alpha": "transparent"}
SHAPES_DIFFER = 0.03  # share by which the shapes of picture and mask may differ
Side = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Sheet:
    """The sizes of a picture on its way.

    Attributes:
        asked: of the finished picture.
        small: of what is drawn, before it is enlarged; of the same shape.
        drawn: of what the model draws, from whose middle `small` is cut: never smaller.
    """

    asked: Side
    small: Side
    drawn: Side

    def cut(self, pictures: Tensor) -> Tensor:
        """The middle (B, C, h, w) of what was drawn (B, C, H, W), both larger alike where the model enlarges."""
        if self.small == self.drawn:
            return pictures
        times = pictures.shape[-1] // self.drawn[1]
        top, left = ((drawn - small) // 2 * times for drawn, small in zip(self.drawn, self.small, strict=True))
        return pictures[..., top : top + self.small[0] * times, left : left + self.small[1] * times]

    def laid(self, pictures: Tensor, mode: Literal["replicate", "constant"] = "replicate") -> Tensor:
        """The reverse of `cut`: pictures (B, C, h, w), continued to the size that is drawn."""
        (top, left), (height, width) = self._offsets(), self.drawn
        below, right = height - self.small[0] - top, width - self.small[1] - left
        return F.pad(pictures, (left, right, top, below), mode=mode)

    def _offsets(self) -> Side:
        return (self.drawn[0] - self.small[0]) // 2, (self.drawn[1] - self.small[1]) // 2


def sheet_for(asked: Side, multiple: int, draw_size: int | None = None) -> Sheet:
    """The sheet of a model that draws in multiples of `multiple` pixels.

    Args:
        asked: the size of the finished picture.
        multiple: of the drawn sides.
        draw_size: the longer side of what is drawn, where that is not the picture's own.

    Raises:
        BadInput: a side is too large.
    """
    if max(asked) > LARGEST:
        raise BadInput(f"{asked[1]}x{asked[0]} pixels are too many; a picture has at most {LARGEST} a side.")
    scale = min(1.0, draw_size / max(asked)) if draw_size else 1.0
    small = (max(1, round(asked[0] * scale)), max(1, round(asked[1] * scale)))
    return Sheet(asked, small, (-(-small[0] // multiple) * multiple, -(-small[1] // multiple) * multiple))


@dataclass(frozen=True)
class Start:
    """A picture uint8 (H, W, 3) and what of it is painted anew, float32 (H, W) in [0, 1], or None for all."""

    picture: np.ndarray
    mask: np.ndarray | None = None

    def laid_back(self, made: np.ndarray) -> np.ndarray:
        """What was made, uint8 (H, W, 3), with all of the picture that was to stay in its place."""
        if self.mask is None:
            return made
        share = self.mask[..., None]
        return (self.picture * (1 - share) + made * share).round().astype(np.uint8)

    def tensors(self, sheet: Sheet) -> tuple[Tensor, Tensor | None]:
        """The picture (1, 3, H, W) in [-1, 1] and the mask (1, 1, H, W) at the size that is drawn."""
        height, width = sheet.small
        picture = sheet.laid(to_tensor(resize_array(self.picture, height, width)) * 2 - 1)
        if self.mask is None:
            return picture, None
        return picture, sheet.laid(torch.from_numpy(fitted(self.mask, height, width))[None, None])


def base_size(options: Create, native: Side) -> Side:
    """Height and width that are asked for, without what --extend adds; `native` where nothing is said."""
    height = options.height or options.width or native[0]
    return height, options.width or options.height or native[1]


def asked_size(options: Create, base: Side) -> Side:
    """Height and width of the finished picture."""
    more = parse_extend(options.extend)
    return base[0] + more["top"] + more["bottom"], base[1] + more["left"] + more["right"]


def picture_size(options: Create) -> Side | None:
    """Height and width of --init, None without one."""
    if options.init is None:
        return None
    height, width = load_picture(options.init).shape[:2]
    return height, width


def read_start(options: Create, base: Side) -> Start | None:
    """The picture of --init at the size asked for, its mask cut alike, and both carried on by --extend.

    Args:
        options: of `create`.
        base: height and width of the picture before it is extended.

    Raises:
        BadPicture: a file cannot be read.
        BadInput: the mask has another shape than the picture.
    """
    if options.init is None:
        return None
    picture = load_picture(options.init)
    mask = None
    if options.mask is not None:
        mask = read_mask(options.mask, CONVENTIONS[options.mask_convention])
        check_shapes(mask, picture)
        mask = fitted(_middle(mask, base), *base)
    picture = resize_array(picture, *base)
    more = parse_extend(options.extend)
    around = ((more["top"], more["bottom"]), (more["left"], more["right"]))
    if any(map(any, around)):
        inner = np.zeros(base, np.float32) if mask is None else mask
        mask = np.pad(inner, around, constant_values=1.0)
        picture = np.pad(picture, (*around, (0, 0)), mode="edge")
    return Start(picture, mask)


def check_shapes(mask: np.ndarray, picture: np.ndarray) -> None:
    """Refuse a mask that cannot lie over a picture.

    Raises:
        BadInput: width to height differ.
    """
    (height, width), (tall, wide) = mask.shape, picture.shape[:2]
    if abs(height * wide / (width * tall) - 1) > SHAPES_DIFFER:
        raise BadInput(
            f"The mask has {width}x{height} pixels and the picture {wide}x{tall}; they need one shape to cover each "
            "other."
        )


def _middle(mask: np.ndarray, size: Side) -> np.ndarray:
    """The part that `resize_array` keeps of a picture, of a mask."""
    height, width = mask.shape
    scale = min(height / size[0], width / size[1])
    tall, wide = min(height, round(size[0] * scale)), min(width, round(size[1] * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    return mask[top : top + tall, left : left + wide]
