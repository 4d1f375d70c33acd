"""Turn a drawing into square pictures: SVG by resvg, alpha box, 4 % margin, white ground, three sizes."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image

from lienzo.core.errors import BadInput, BadPicture

SIDE = 256
SIZES = (256, 128, 64)
MARGIN = 0.04
RENDER_SIDE = 272
MAX_RENDER_SIDE = 2048
MAX_PIXELS = 40_000_000
MIN_RASTER_SIDE = 48
_PLAIN_ENTITY = re.compile(r"""<!ENTITY\s+[\w.:-]+\s+(?:"[^"<&%]*"|'[^'<&%]*')\s*>""")
_INSIDE = r"(?!#|data:image/(?:png|jpe?g|gif|webp)[;,])"
_LINK_OUT = re.compile(rf"""(\bhref\s*=\s*)(?:"{_INSIDE}[^"]*"|'{_INSIDE}[^']*')""", re.IGNORECASE)
_FORMATS = ("PNG", "JPEG", "WEBP")
_NUMBER = r"(\d+(?:\.\d+)?)(?:px|pt|mm|cm|in)?"


def square_pictures(data: bytes, kind: str, fit: str) -> dict[int, bytes]:
    """PNG files by side length (256, 128, 64) of an SVG text or a raster file.

    The 256 px picture is made first; the smaller ones are exact box means of it.

    Raises:
        BadPicture: it cannot be drawn, is too large, too small, or shows nothing.
    """
    image = _fill(_open(data)) if fit == "fill" else _whole(data, kind)
    pixels = np.asarray(image, np.float32)
    if pixels.std() < 3.0:
        raise BadPicture("the drawing shows nothing on white")
    return {side: _png(image if side == SIDE else image.reduce(SIDE // side)) for side in SIZES}


def decode_picture(data: bytes, side: int) -> np.ndarray:
    """A PNG of the corpus as uint8 (side, side, 3).

    Raises:
        BadPicture: it cannot be read or has another size.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.size != (side, side):
            raise BadPicture(f"A picture of the corpus is {image.width} x {image.height}, not {side} x {side}.")
        return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture("A picture of the corpus cannot be read.") from error


def require_resvg() -> None:
    """Say in one sentence what is missing when resvg is not installed."""
    try:
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise BadInput(
            "Drawing SVG files needs the package resvg-py; install it with: pip install 'lienzo[data]'."
        ) from error


def render_svg(svg: str, longest: int) -> Image.Image:
    """The SVG as RGBA whose longer side is `longest` pixels. No system fonts and no outside files are read."""
    import resvg_py

    svg = without_outside_files(svg)
    wide = _aspect(svg) >= 1
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg,
            width=longest if wide else None,
            height=None if wide else longest,
            skip_system_fonts=True,
            dpi=96.0,
        )
    except ValueError as error:
        raise BadPicture(f"resvg cannot draw it ({str(error)[:80]})") from error
    image = Image.open(io.BytesIO(bytes(png)))
    if max(image.size) > 4 * longest:
        raise BadPicture("it is far longer than wide")
    return image.convert("RGBA")


def without_outside_files(svg: str) -> str:
    """The SVG with every link emptied that leads neither inside it (``#id``) nor to a raster picture in ``data:``.

    resvg would open a path on this machine that an ``<image>`` names.

    Raises:
        BadPicture: it declares entities that could hide such a link.
    """
    if svg.upper().count("<!ENTITY") != len(_PLAIN_ENTITY.findall(svg)):
        raise BadPicture("it declares entities that are more than plain text")
    return _LINK_OUT.sub(r"\1''", svg)


def _aspect(svg: str) -> float:
    """Width over height as the root element gives it; 1 where it does not."""
    root = re.search(r"<svg\b[^>]*>", svg[:20_000])
    text = root[0] if root else ""
    width, height = (re.search(rf"\b{side}\s*=\s*[\"']\s*{_NUMBER}\s*[\"']", text) for side in ("width", "height"))
    box = re.search(rf"viewBox\s*=\s*[\"']\s*\S+[\s,]+\S+[\s,]+{_NUMBER}[\s,]+{_NUMBER}", text)
    if width and height and float(width[1]) and float(height[1]):
        return float(width[1]) / float(height[1])
    if box and float(box[1]) and float(box[2]):
        return float(box[1]) / float(box[2])
    return 1.0


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise BadPicture(f"{image.width} x {image.height} pixels are too many")
        return image.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture("the file is not a picture that can be read") from error


def _alpha_box(image: Image.Image) -> tuple[int, int, int, int]:
    box = image.getchannel("A").point(lambda value: 255 if value > 8 else 0).getbbox()
    if box is None:
        raise BadPicture("the drawing is empty")
    return box


def _whole(data: bytes, kind: str) -> Image.Image:
    """All of the drawing, centred; a drawing that fills little of its own page is drawn again, larger."""
    inner = SIDE - 2 * round(SIDE * MARGIN)
    if kind == "svg":
        svg = data.decode("utf-8", "replace")
        image = render_svg(svg, RENDER_SIDE)
        box = _alpha_box(image)
        longest = max(box[2] - box[0], box[3] - box[1])
        if longest < 0.85 * inner:
            image = render_svg(svg, min(MAX_RENDER_SIDE, RENDER_SIDE * inner // longest + 1))
            box = _alpha_box(image)
    else:
        image = _open(data)
        box = _alpha_box(image)
        if max(box[2] - box[0], box[3] - box[1]) < MIN_RASTER_SIDE:
            raise BadPicture("the picture is too small")
    cropped = _on_white(image.crop(box))
    scale = inner / max(cropped.size)
    size = tuple(max(1, round(side * scale)) for side in cropped.size)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    scaled = cropped.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    square.paste(scaled, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def _fill(image: Image.Image) -> Image.Image:
    """The largest square: the middle of a wide picture; of a tall one nearer the top, where faces are."""
    image = _on_white(image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 4
    return image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _on_white(image: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def _png(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, "PNG", compress_level=6)
    return packed.getvalue()
