"""Videos and animations: written whole or not at all, from any stream of pictures.

GIF, WebP and APNG are written by Pillow; MP4 by PyAV, whose wheels bring ffmpeg, from the extra `video`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable

FORMATS = {".mp4": "MP4", ".gif": "GIF", ".webp": "WEBP", ".apng": "PNG"}
MAX_FPS = {"MP4": 240.0, "GIF": 50.0, "WEBP": 100.0, "PNG": 100.0}
"""Browsers slow a GIF above 50 pictures a second down to 10."""
_CODECS = ("libx264", "libopenh264", "h264_videotoolbox", "mpeg4")  # the first that this ffmpeg has
_CRF = "18"  # x264's own scale: 18 looks the same as the original


def check_video(path: str | Path, fps: float = 10.0) -> None:
    """Say now what `write_video` would say after hours of work.

    Raises:
        BadInput: the suffix is unknown, the pace does not fit the format, or PyAV is missing.
    """
    name = Path(path).name
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise BadInput(f"A video's name ends in {', '.join(FORMATS)}; '{printable(name, 100)}' does not.")
    if not 0.1 <= fps <= MAX_FPS[kind]:
        raise BadInput(f"{fps:g} pictures a second do not fit '{printable(name, 100)}'; 0.1 to {MAX_FPS[kind]:g} do.")
    if kind == "MP4" and find_spec("av") is None:
        raise BadInput('Writing MP4 needs PyAV: pip install "lienzo[video]"; a name ending in .gif or .webp does not.')


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], fps: float, *, loop: bool = True, exist_ok: bool = True
) -> int:
    """Write pictures as a video; a failure at any moment leaves an old file of that name as it was.

    Args:
        path: ends in .mp4 (H.264 where this ffmpeg has it, else MPEG-4), .gif, .webp or .apng; its folder exists.
        frames: uint8 (H, W, 3), all of one size, at least one; taken one at a time.
        fps: pictures a second. GIF counts in hundredths of a second, WebP and APNG in thousandths.
        loop: whether an animation begins again at its end; an MP4 leaves that to the player.
        exist_ok: whether an existing file may be replaced.

    Returns:
        How many pictures were written. MP4 needs even sides: an odd one gets its last row or column twice.

    Raises:
        BadInput: as `check_video`, or there is no picture, or one has another size, or the disk refuses.
    """
    check_video(path, fps)
    path = Path(path)
    kind = FORMATS[path.suffix.lower()]
    counted = _Checked(frames)
    with replacing(path, exist_ok=exist_ok) as temporary:
        if kind == "MP4":
            _write_mp4(temporary, counted, fps)
        else:
            _write_animation(temporary, counted, kind, fps, loop)
    return counted.count


class _Checked:
    """The frames one by one, counted, each of the size of the first."""

    def __init__(self, frames: Iterable[np.ndarray]):
        self.frames = iter(frames)
        self.count = 0
        self.shape: tuple[int, ...] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        try:
            frame = next(self.frames)
        except StopIteration:
            if not self.count:
                raise BadInput("A video needs at least one picture; there is none.") from None
            raise
        self.shape = self.shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise BadInput(f"A picture of a video is uint8 (H, W, 3); this is {frame.dtype} {tuple(frame.shape)}.")
        if frame.shape != self.shape:
            sizes = f"{frame.shape[1]} x {frame.shape[0]} pixels and the first {self.shape[1]} x {self.shape[0]}"
            raise BadInput(f"Picture {self.count + 1} of the video has {sizes}; all need one size.")
        self.count += 1
        return frame


def _write_animation(path: Path, frames: Iterator[np.ndarray], kind: str, fps: float, loop: bool) -> None:
    unit = 10 if kind == "GIF" else 1  # milliseconds
    options: dict[str, Any] = {"duration": max(round(1000 / fps / unit), 1) * unit}
    if kind == "GIF":
        options |= {"optimize": False, "disposal": 1} | ({"loop": 0} if loop else {})
    else:
        options |= {"loop": int(not loop)} | ({"quality": 90, "method": 4} if kind == "WEBP" else {})
    made = map(_indexed if kind == "GIF" else Image.fromarray, frames)
    first = next(made)
    rest = list(made) if kind == "PNG" else made  # Pillow goes through those of an APNG twice
    with path.open("wb") as file:
        first.save(file, kind, save_all=True, append_images=rest, **options)


def _indexed(frame: np.ndarray) -> Image.Image:
    """A frame in 256 colours of its own, dithered."""
    picture = Image.fromarray(frame)
    palette = picture.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    return picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


def _write_mp4(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    import av

    first = _even(next(frames))
    codec = next((name for name in _CODECS if _encodes(name)), None)
    if codec is None:
        raise BadInput("The ffmpeg of PyAV has no encoder for MP4; choose a name that ends in .gif or .webp.")
    options = {"crf": _CRF, "preset": "medium"} if codec == "libx264" else {}
    rate = Fraction(fps).limit_denominator(1001)
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream: Any = container.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], "yuv420p"
            if not options:
                stream.bit_rate = int(first.shape[0] * first.shape[1] * fps)  # about a bit a pixel
            for frame in chain([first], map(_even, frames)):
                for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
    except av.FFmpegError as error:
        raise BadInput(f"The video cannot be encoded as MP4: {printable(str(error), 200)}.") from error


def _encodes(name: str) -> bool:
    import av

    try:
        return bool(av.Codec(name, "w").is_encoder)
    except ValueError:  # PyAV's "no such codec" is one
        return False


def _even(frame: np.ndarray) -> np.ndarray:
    """The frame with even sides; the last row or column twice where one is odd."""
    height, width = frame.shape[:2]
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    return np.ascontiguousarray(np.pad(frame, odd, mode="edge") if height % 2 or width % 2 else frame)
