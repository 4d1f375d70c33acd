"""How a video's camera moves from one frame to the next: zoom, turn and shift."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.keyframes import Keyframes, parse_keyframes

NEAREST, FARTHEST = 0.1, 10.0


@dataclass(frozen=True)
class Motion:
    """What happens to the picture before each frame but the first, as key frames.

    Attributes:
        zoom: factor about the centre, 0.1 to 10; above 1 comes nearer.
        rotate: degrees, clockwise.
        shift_x, shift_y: pixels that the picture moves to the right, and down.
    """

    zoom: Keyframes
    rotate: Keyframes
    shift_x: Keyframes
    shift_y: Keyframes

    @classmethod
    def parse(cls, zoom: str = "1", rotate: str = "0", shift_x: str = "0", shift_y: str = "0") -> Motion:
        """The motion that four texts tell; see `parse_keyframes`."""
        return cls(*(parse_keyframes(text) for text in (zoom, rotate, shift_x, shift_y)))

    def check(self, frames: int) -> None:
        """Pass where every frame of a video has a motion.

        Raises:
            BadInput: a formula has no value at some frame, or a zoom is out of bounds.
        """
        for frame in range(1, frames):
            self._numbers(frame)

    def still(self, frame: int) -> bool:
        """Whether nothing moves before this frame."""
        return self._numbers(frame) == (1.0, 0.0, 0.0, 0.0)

    def apply(self, picture: Tensor, frame: int) -> Tensor:
        """The picture (B, 3, H, W) in [0, 1] as it is at the start of `frame`; edges are mirrored outwards."""
        zoom, degrees, right, down = self._numbers(frame)
        return moved(picture, zoom, degrees, right, down)

    def _numbers(self, frame: int) -> tuple[float, float, float, float]:
        zoom = self.zoom.at(frame)
        if not NEAREST <= zoom <= FARTHEST:
            raise BadInput(f"The zoom at frame {frame} is {zoom:g}; it should be {NEAREST:g} to {FARTHEST:g}.")
        return zoom, self.rotate.at(frame), self.shift_x.at(frame), self.shift_y.at(frame)


def moved(picture: Tensor, zoom: float, degrees: float, right: float, down: float) -> Tensor:
    """Zoom and turn (B, C, H, W) in [0, 1] about its centre, then shift it; bicubic, mirrored at the edges.

    Args:
        zoom: factor; above 1 enlarges.
        degrees: clockwise.
        right, down: pixels.
    """
    if (zoom, degrees, right, down) == (1, 0, 0, 0):
        return picture
    height, width = picture.shape[-2:]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    # Where each pixel of the result comes from, in pixels about the centre: undo the shift, the turn, the zoom.
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2 - down
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2 - right
    from_x, from_y = cos * x + sin * y, cos * y - sin * x  # (H, W)
    grid = torch.stack([from_x * 2 / width, from_y * 2 / height], -1).expand(len(picture), -1, -1, -1)
    seen = F.grid_sample(picture, grid.to(picture), mode="bicubic", padding_mode="reflection", align_corners=False)
    return seen.clamp(0, 1)
