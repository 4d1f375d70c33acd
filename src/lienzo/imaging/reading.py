"""Opening pictures from anywhere: measured before they are decoded, upright, on white, eight bits a channel.

Colour profiles are ignored: pixels are taken as sRGB, so that one file gives the same numbers on every machine and
no profile reaches a colour engine.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from lienzo.core.errors import BadPicture
from lienzo.core.text import printable
from lienzo.imaging import containers

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
Mode = Literal["RGB", "RGBA", "L"]
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP")
_MAX_SCANS = 200
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Limits:
    """What a picture may cost; checked before it is decoded."""

    file_bytes: int = 256 << 20
    pixels: int = 64_000_000
    """Width times height. Pillow's own guard stops at 179 million whatever is said here."""
    frames: int = 2_000
    """Of an animation, of which only the first is used."""
    text_bytes: int = 4 << 20
    """Of texts, EXIF and profile in a PNG, as they are stored."""


def open_picture(
    source: str | Path | bytes, *, mode: Mode = "RGB", limits: Limits | None = None, at_least: int | None = None
) -> Image.Image:
    """A decoded picture without metadata, turned upright by its EXIF orientation.

    Args:
        source: A file's path, or the file's bytes.
        mode: ``RGB`` lays transparent parts on white; ``RGBA`` keeps them; ``L`` is grey, laid on white.
        limits: What the picture may cost.
        at_least: Pixels of the shorter side that are enough. A larger JPEG is then decoded at a half, a quarter or
            an eighth of its size, in a fraction of the time; other formats and smaller pictures come as they are.

    Returns:
        The picture with 8 bits a channel; of an animation, its first frame. 16 bits are scaled down, floating
        point is taken as 0 to 1.

    Raises:
        BadPicture: one sentence that says what is wrong: missing, not a picture, broken, cut off, or too large.
    """
    with _opened(source, limits or Limits()) as (image, _):
        if at_least:
            image.draft(None, (at_least, at_least))
        image.load()
        return _converted(_upright(image), mode)


@contextmanager
def _opened(source: str | Path | bytes, limits: Limits) -> Iterator[tuple[Image.Image, str]]:
    """A measured picture, not yet decoded, and its name in messages; whatever goes wrong inside is a BadPicture."""
    name = "The picture" if isinstance(source, bytes) else f"The picture '{printable(Path(source).name, 100)}'"
    data = source if isinstance(source, bytes) else read_bytes(source, limits.file_bytes)
    if len(data) > limits.file_bytes:
        raise BadPicture(f"{name} is larger than {limits.file_bytes / 2**20:.3g} MiB.")
    _measure(data, name, limits)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, name, limits)
            yield image, name
    except BadPicture:
        raise
    except UnidentifiedImageError as error:
        raise BadPicture(f"{name} {_what_it_is(data)}.") from error
    except Image.DecompressionBombError as error:
        raise BadPicture(f"{name} has far too many pixels.") from error
    except Exception as error:  # decoders raise almost anything about broken files
        raise BadPicture(f"{name} is broken or cut off.") from error


def load_picture(
    source: str | Path | bytes, *, limits: Limits | None = None, at_least: int | None = None
) -> np.ndarray:
    """A picture as uint8 RGB (H, W, 3); see `open_picture`."""
    return np.array(open_picture(source, limits=limits, at_least=at_least))


def load_indices(source: str | Path | bytes, *, limits: Limits | None = None) -> np.ndarray:
    """A map of classes, stored as a palette or grey picture, as the numbers in the file: uint8 (H, W).

    Raises:
        BadPicture: as `open_picture`, or it has more than one channel or more than 8 bits.
    """
    with _opened(source, limits or Limits()) as (image, name):
        image.load()
        if image.mode not in ("1", "L", "P"):
            raise BadPicture(f"{name} has colours where one number a pixel is needed.")
        return np.array(image, np.uint8)


def read_bytes(path: str | Path, limit: int) -> bytes:
    """The bytes of a plain file of at most `limit` bytes.

    Raises:
        BadPicture: it is missing, no plain file, larger, or may not be read.
    """
    name = f"The picture '{printable(Path(path).name, 100)}'"
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadPicture(f"{name} is not a plain file.")
            if status.st_size > limit:
                raise BadPicture(f"{name} is larger than {limit / 2**20:.3g} MiB.")
            return file.read(limit + 1)
    except FileNotFoundError as error:
        raise BadPicture(f"{name} does not exist.") from error
    except IsADirectoryError as error:
        raise BadPicture(f"{name} is a folder; give a picture in it.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadPicture(f"{name} cannot be opened: {reason}.") from error


def to_tensor(pictures: np.ndarray | Image.Image | Sequence[np.ndarray]) -> Tensor:
    """Pictures, uint8 (H, W, 3) or (B, H, W, 3) or a list of one size, as float32 (B, 3, H, W) in [0, 1]."""
    import torch

    stacked = np.stack([np.asarray(p) for p in pictures]) if isinstance(pictures, list | tuple) else pictures
    array = np.array(stacked, dtype=np.uint8)  # (H, W, 3) or (B, H, W, 3)
    array = array[None] if array.ndim == 3 else array
    return torch.from_numpy(array).permute(0, 3, 1, 2).float().div_(255)


def from_tensor(images: Tensor) -> np.ndarray:
    """Float (B, 3, H, W) or (3, H, W) in [0, 1] as uint8 (B, H, W, 3) or (H, W, 3), rounded and clamped.

    What is not a number becomes black.
    """
    values = images.detach().float().cpu().nan_to_num(0.0).clamp(0, 1).mul(255).round()
    return np.ascontiguousarray(values.byte().movedim(-3, -1).numpy())


def _measure(data: bytes, name: str, limits: Limits) -> None:
    """Refuse by the file's structure what would already cost much when it is opened."""
    if _frames(data, limits.frames) > limits.frames:
        raise BadPicture(f"{name} has more than {limits.frames} frames.")
    if data.startswith(containers.PNG_SIGNATURE):
        text = sum(len(content) for kind, content in containers.png_chunks(data) if kind in _TEXT_CHUNKS)
        if text > limits.text_bytes:
            raise BadPicture(f"{name} carries more than {limits.text_bytes >> 20} MiB of text.")
    elif containers.is_webp(data):
        _check_size(containers.webp_size(data) or (1, 1), name, limits)
    elif containers.is_jpeg(data):
        scans = sum(marker == 0xDA for marker, _, _ in containers.jpeg_segments(data))
        if scans > _MAX_SCANS:
            raise BadPicture(f"{name} has more than {_MAX_SCANS} scans; it is broken or hostile.")


def _frames(data: bytes, limit: int) -> int:
    """Number of frames of an animation, without decoding; counting may end after `limit`."""
    if data.startswith(containers.PNG_SIGNATURE):
        counts = (content[:4] for kind, content in containers.png_chunks(data) if kind == b"acTL")
        return int.from_bytes(next(counts, b"\1"), "big")
    if containers.is_webp(data):
        return sum(kind == b"ANMF" for kind, _ in containers.webp_chunks(data))
    return containers.gif_frames(data, limit) if data.startswith(b"GIF8") else 1


def _check_size(size: tuple[int, int], name: str, limits: Limits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise BadPicture(
            f"{name} has {width} x {height} pixels; at most {limits.pixels // 1_000_000} million are read."
        )
    if width < 1 or height < 1:
        raise BadPicture(f"{name} has no pixels.")


def _upright(image: Image.Image) -> Image.Image:
    """Turn by the EXIF orientation; broken EXIF does not make a picture unreadable."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _converted(image: Image.Image, mode: Mode) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if mode != "RGBA":
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(image)
            image = white
    image = image.convert("RGB") if mode != "RGBA" and image.mode != "RGB" else image
    image = image.convert(mode) if image.mode != mode else image
    clean = Image.new(mode, image.size)
    clean.paste(image)
    return clean


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floating point as 8 bits."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    if image.mode == "F":
        values *= 255
    elif image.mode != "I" or values.max(initial=0) > 255:
        values /= 257
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def _what_it_is(data: bytes) -> str:
    """A guess at what a file is that no decoder knows."""
    start = data[:256].lstrip().lower()
    kinds = "PNG, JPEG, WebP, GIF, BMP, TIFF and AVIF can be read"
    if not data:
        return "is empty"
    if start.startswith((b"<svg", b"<?xml")):
        return f"is a drawing of vectors or a document, not of pixels ({kinds})"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"hevc"):
        return f"is a HEIC picture; save it as JPEG or PNG first ({kinds})"
    known = (containers.PNG_SIGNATURE[:4], b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
    if data.startswith(known):
        return "is broken or cut off"
    return f"is not a picture that Lienzo knows ({kinds})"
