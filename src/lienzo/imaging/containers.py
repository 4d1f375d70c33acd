"""The outer structure of PNG, JPEG and WebP files: walked without decoding, to measure, read and strip them."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from lienzo.core.errors import BadPicture

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PARTS = 100_000
# What belongs to the picture itself: sizes, pixels, colour, transparency, animation.
_PNG_KEPT = frozenset(b"IHDR PLTE IDAT IEND tRNS cHRM gAMA sRGB iCCP sBIT bKGD pHYs cICP acTL fcTL fdAT".split())
_ORIENTATION = 0x0112
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


def is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each chunk up to IEND; stops quietly where the file is cut off."""
    view, position = memoryview(data), len(PNG_SIGNATURE)
    for _ in range(MAX_PARTS):
        if position + 12 > len(view):
            return
        length, kind = struct.unpack_from(">L4s", view, position)
        if length > len(view) - position - 12:
            return
        yield kind, bytes(view[position + 8 : position + 8 + length])
        position += 12 + length
        if kind == b"IEND":
            return
    raise BadPicture(f"The picture has more than {MAX_PARTS} parts; it is broken or hostile.")


def png_texts(data: bytes, limit: int) -> dict[str, str]:
    """The texts of a PNG by keyword; texts that are broken or longer than `limit` bytes are left out."""
    texts: dict[str, str] = {}
    for kind, content in png_chunks(data):
        if kind in (b"tEXt", b"zTXt", b"iTXt") and len(content) <= limit + 1024:
            keyword, _, rest = content.partition(b"\0")
            text = _png_text(kind, rest, limit)
            if text is not None and len(keyword) < 80:
                texts.setdefault(keyword.decode("latin1"), text)
    return texts


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, begin, end) of each part of a JPEG, from after its start to its end marker.

    Begin is the place of the marker itself. A scan's picture data belong to its marker 0xDA.
    """
    position = 2
    for _ in range(MAX_PARTS):
        while data[position : position + 2] == b"\xff\xff":
            position += 1  # fill bytes
        start = position
        if position + 2 > len(data) or data[position] != 0xFF:
            return
        marker = data[position + 1]
        position += 2
        if marker not in range(0xD0, 0xDA) and marker != 0x01:
            if position + 2 > len(data):
                return
            position += struct.unpack_from(">H", data, position)[0]
        if marker == 0xDA:
            position = _scan_end(data, position)
        yield marker, start, min(position, len(data))
        if marker == 0xD9:
            return
    raise BadPicture(f"The picture has more than {MAX_PARTS} parts; it is broken or hostile.")


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each chunk of a WebP; stops quietly where the file is cut off."""
    position = 12
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sL", data, position)
        if position + 8 + length > len(data):
            return
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    raise BadPicture(f"The picture has more than {MAX_PARTS} parts; it is broken or hostile.")


def gif_frames(data: bytes, limit: int) -> int:
    """Number of pictures in a GIF; counting ends soon after `limit`, and at the first broken block."""
    if len(data) < 13:
        return 0
    position, frames, blocks = 13 + _table_size(data[10]), 0, 0
    while frames <= limit and data[position : position + 1] in (b"\x21", b"\x2c"):
        if data[position] == 0x2C:
            frames += 1
            if position + 10 > len(data):
                break
            position += 11 + _table_size(data[position + 9])
        else:
            position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            blocks += 1
            if blocks > 20 * MAX_PARTS:
                raise BadPicture(f"The picture has more than {20 * MAX_PARTS} parts; it is broken or hostile.")
        position += 1
    return frames


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by a WebP's header, before its decoder reserves memory for them."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<2H", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def without_metadata(data: bytes, orientation: int = 1) -> bytes:
    """The same picture, bit for bit, without texts, EXIF, XMP, comments, thumbnails and data after its end.

    Args:
        data: A PNG, JPEG or WebP file.
        orientation: EXIF orientation to keep (1 to 8), since without it the picture would turn. 1 keeps nothing.

    Raises:
        BadPicture: the file is of another format.
    """
    if data.startswith(PNG_SIGNATURE):
        return _plain_png(data, orientation)
    if is_jpeg(data):
        return _plain_jpeg(data, orientation)
    if is_webp(data):
        return _plain_webp(data, orientation)
    raise BadPicture("Metadata can be removed from PNG, JPEG and WebP pictures only.")


def _png_text(kind: bytes, rest: bytes, limit: int) -> str | None:
    if kind == b"tEXt":
        return rest.decode("latin1") if len(rest) <= limit else None
    packed, encoding = True, "latin1"
    if kind == b"iTXt":
        packed, encoding = rest[:1] == b"\1", "utf-8"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        rest = rest[1:]
    if packed:
        try:
            unpacker = zlib.decompressobj()
            rest = unpacker.decompress(rest, limit + 1)
        except zlib.error:
            return None
    return rest.decode(encoding, "replace") if len(rest) <= limit else None


def _table_size(flags: int) -> int:
    """Bytes of a GIF's colour table by the flags before it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _scan_end(data: bytes, position: int) -> int:
    """Where the next marker begins that is neither an escaped 0xFF nor a restart."""
    found = _MARKER.search(data, position)
    return found.start() if found else len(data)


def _exif(orientation: int) -> bytes:
    """A TIFF structure with one entry: the orientation."""
    entry = struct.pack(">2HL2H", _ORIENTATION, 3, 1, orientation, 0)
    return b"MM\0\x2a\0\0\0\x08" + struct.pack(">H", 1) + entry + bytes(4)


def _plain_png(data: bytes, orientation: int) -> bytes:
    kept = [(kind, content) for kind, content in png_chunks(data) if kind in _PNG_KEPT]
    if orientation != 1:
        kept.insert(1, (b"eXIf", _exif(orientation)))
    parts = [PNG_SIGNATURE]
    for kind, content in kept:
        crc = zlib.crc32(kind + content)
        parts.append(struct.pack(">L", len(content)) + kind + content + struct.pack(">L", crc))
    return b"".join(parts)


def _plain_jpeg(data: bytes, orientation: int) -> bytes:
    parts = [b"\xff\xd8"]
    if orientation != 1:
        body = b"Exif\0\0" + _exif(orientation)
        parts.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    for marker, begin, end in jpeg_segments(data):
        part = data[begin:end]
        if marker == 0xE0 and part[4:9] == b"JFIF\0":
            parts.append(b"\xff\xe0\0\x10" + part[4:16] + b"\0\0")  # without its thumbnail
            continue
        profile = marker == 0xE2 and part[4:].startswith(b"ICC_PROFILE\0")
        adobe = marker == 0xEE  # says how the colours were transformed
        if profile or adobe or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(part)
    return b"".join(parts)


def _plain_webp(data: bytes, orientation: int) -> bytes:
    parts = []
    for kind, content in webp_chunks(data):
        if kind in (b"EXIF", b"XMP "):
            continue
        if kind == b"VP8X" and content:
            flags = content[0] & ~0x0C | (0x08 if orientation != 1 else 0)
            content = bytes([flags]) + content[1:]
        if kind in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"):
            parts.append(kind + struct.pack("<L", len(content)) + content + bytes(len(content) % 2))
    if orientation != 1:
        body = _exif(orientation)
        parts.append(b"EXIF" + struct.pack("<L", len(body)) + body + bytes(len(body) % 2))
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<L", len(body)) + body
