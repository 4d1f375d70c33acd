"""A decoded picture becomes the square that a CLIP's picture tower reads. Pillow and numpy only, for any process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from lienzo.core.errors import BadPicture

Shape = Literal["crop", "squash", "letterbox"]
Filter = Literal["bicubic", "bilinear", "lanczos"]
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
_LONGEST = 16  # a crop of a picture longer than this many of its short sides first loses the ends
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class PictureInput:
    """How pictures of any size are brought to `size` x `size`.

    Instances are called, compared and sent to other processes.

    Args:
        size: side of the square in pixels.
        shape: `crop` scales the short side and takes the middle (OpenAI's CLIP); `squash` ignores the aspect
            (SigLIP); `letterbox` scales the long side and lays the whole picture on white.
        filter: of the resizing, always antialiased.
    """

    size: int
    shape: Shape = "crop"
    filter: Filter = "bicubic"

    @property
    def tag(self) -> str:
        """A short name of all that changes pixels, such as `crop-bicubic-224`."""
        return f"{self.shape}-{self.filter}-{self.size}"

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """uint8 (size, size, 3). Transparent parts are laid on white.

        Raises:
            BadPicture: it has no pixels.
        """
        if 0 in picture.size:
            raise BadPicture("The picture has no pixels.")
        picture = on_white(picture)
        if self.shape == "crop":
            return np.array(self._cropped(picture))
        if self.shape == "squash":
            return np.array(self._resized(picture, self.size, self.size))
        return np.array(self._letterboxed(picture))

    def _cropped(self, picture: Image.Image) -> Image.Image:
        short = min(picture.size)
        width, height = (min(side, _LONGEST * short) for side in picture.size)
        if (width, height) != picture.size:
            picture = _middle(picture, width, height)
        scaled = self._resized(picture, self.size * width // short, self.size * height // short)
        return _middle(scaled, self.size, self.size)

    def _letterboxed(self, picture: Image.Image) -> Image.Image:
        long = max(picture.size)
        width, height = (max(1, round(self.size * side / long)) for side in picture.size)
        scaled = self._resized(picture, width, height)
        if scaled.size == (self.size, self.size):
            return scaled
        square = Image.new("RGB", (self.size, self.size), _WHITE)
        square.paste(scaled, ((self.size - width) // 2, (self.size - height) // 2))
        return square

    def _resized(self, picture: Image.Image, width: int, height: int) -> Image.Image:
        if picture.size == (width, height):
            return picture
        return picture.resize((width, height), _FILTERS[self.filter])


def on_white(picture: Image.Image) -> Image.Image:
    """The picture in RGB, its transparent parts on white."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (*_WHITE, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))
